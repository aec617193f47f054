"""``torch.backends.cudnn``: setting these changes nothing."""

benchmark = False
deterministic = True
enabled = False
