"""Functions, layers and losses of networks one by one, with their gradients."""

import torch
import torch.nn as nn
import torch.nn.functional as F

CALLS = """
F.linear(x,sq)
F.linear(x,sq,v)
F.conv1d(s,k1,b6,2,1)
F.conv1d(s,k1,padding="same")
F.conv2d(im,k,b6)
F.conv2d(im,k,b6,stride=2,padding=1,dilation=2)
F.conv2d(im,k[:,:2],groups=2)
F.conv2d(im[0],k)
F.conv2d(im,k,padding="same")
F.conv2d(im,k,stride=(2,1),padding=(1,0))
F.conv_transpose2d(im,kt,stride=2,padding=1,output_padding=1)
F.conv_transpose2d(im,kt)
F.conv_transpose1d(s,kt1,stride=2)
F.relu(x)
F.relu6(x*4)
F.leaky_relu(x,.2)
F.elu(x,1.5)
F.selu(x)
F.celu(x,2.)
F.gelu(x)
F.gelu(x,approximate="tanh")
F.silu(x)
F.mish(x)
F.hardswish(x*4)
F.hardtanh(x)
F.hardtanh(x,-.3,.3)
F.logsigmoid(x)
F.softplus(x)
F.softplus(x,beta=2)
F.softplus(x*30,beta=1)
F.softsign(x)
F.tanhshrink(x)
F.threshold(x,.1,20)
F.prelu(im,v)
F.prelu(x,v[:1])
F.glu(x)
F.glu(im,dim=1)
F.hardshrink(x)
F.softshrink(x)
F.sigmoid(x)
F.softmax(x,dim=1)
F.softmax(x,1)
F.softmin(x,dim=1)
F.log_softmax(x,dim=-1)
F.avg_pool1d(s,2)
F.avg_pool2d(im,2)
F.avg_pool2d(im,3,2,1)
F.avg_pool2d(im,3,2,1,count_include_pad=False)
F.avg_pool2d(im,4,3,ceil_mode=True)
F.max_pool1d(s,2)
F.max_pool2d(im,2)
F.max_pool2d(im,3,2,1)
F.max_pool2d(im,kernel_size=3,stride=2,ceil_mode=True)
F.adaptive_avg_pool1d(s,4)
F.adaptive_avg_pool2d(im,1)
F.adaptive_avg_pool2d(im,(4,5))
F.adaptive_avg_pool2d(im,(None,2))
F.adaptive_max_pool2d(im,4)
F.adaptive_max_pool1d(s,4)
F.pixel_shuffle(im,2)
F.pixel_unshuffle(im,2)
F.channel_shuffle(im,2)
F.interpolate(im,scale_factor=2)
F.interpolate(im,size=(9,4))
F.interpolate(im,size=9,mode="bilinear")
F.interpolate(im,scale_factor=2,mode="bilinear",align_corners=True)
F.interpolate(im,scale_factor=0.5,mode="bilinear",align_corners=False)
F.interpolate(im,scale_factor=(2,1.5),mode="nearest")
F.interpolate(im,scale_factor=1.7,mode="bilinear")
F.upsample(im,scale_factor=2)
F.pad(x,(1,2))
F.pad(im,(1,2,0,1))
F.pad(im,(1,1,1,1),mode="reflect")
F.pad(im,(1,1,1,1),"replicate")
F.pad(im,(1,1,1,1),mode="circular")
F.pad(x,(1,2),value=3.)
F.pad(im,(-1,1,0,-2))
F.unfold(im,3)
F.unfold(im,2,stride=2)
F.fold(F.unfold(im,2,stride=2),(6,6),2,stride=2)
F.affine_grid(theta,(2,4,5,5),align_corners=False)
F.affine_grid(theta,(2,4,5,5),align_corners=True)
F.grid_sample(im,grid,align_corners=False)
F.grid_sample(im,grid,align_corners=True)
F.grid_sample(im,grid,mode="nearest",align_corners=False)
F.grid_sample(im,grid,padding_mode="border",align_corners=False)
F.layer_norm(x,(4,))
F.layer_norm(x,(4,),v,w)
F.layer_norm(im,(6,6))
F.group_norm(im,2)
F.group_norm(im,2,v,w)
F.instance_norm(im)
F.instance_norm(im,weight=v,bias=w)
F.rms_norm(x,(4,),eps=1e-6)
F.rms_norm(x,(4,),v,eps=1e-6)
F.local_response_norm(im,3)
F.local_response_norm(im,2,alpha=.1,beta=.5,k=2.)
F.batch_norm(im,torch.zeros(4),torch.ones(4),v,w,training=True)
F.batch_norm(im,torch.zeros(4),torch.ones(4),v,w,training=False)
F.batch_norm(im,None,None,training=True)
F.batch_norm(x,torch.zeros(4),torch.ones(4),training=True)
F.normalize(x)
F.normalize(x,p=1,dim=0)
F.one_hot(l,5)
F.one_hot(l)
F.embedding(l,sq)
F.embedding(l,sq,padding_idx=1)
F.dropout(x,0.5,training=False)
F.mse_loss(x,y)
F.mse_loss(x,y,reduction="sum")
F.mse_loss(x,y,reduction="none")
F.l1_loss(x,y)
F.smooth_l1_loss(x,y,beta=.5)
F.huber_loss(x,y,delta=.5)
F.binary_cross_entropy(p,q)
F.binary_cross_entropy(p,bits,weight=torch.tensor([1.,2.,3.,4.]))
F.binary_cross_entropy_with_logits(x,q)
F.binary_cross_entropy_with_logits(x,bits,pos_weight=torch.tensor([1.,2.,3.,4.]),reduction="sum")
F.cross_entropy(x,l)
F.cross_entropy(x,l,reduction="none")
F.cross_entropy(x,l,weight=pos4.detach())
F.cross_entropy(x,l,label_smoothing=.1)
F.cross_entropy(x,l,ignore_index=3)
F.cross_entropy(x,l,weight=pos4.detach(),label_smoothing=.1,ignore_index=1)
F.cross_entropy(im,lm)
F.cross_entropy(im,lm,reduction="sum")
F.cross_entropy(v,l[0])
F.nll_loss(F.log_softmax(x,1),l)
F.nll_loss(F.log_softmax(im,1),lm,weight=pos4.detach())
F.kl_div(F.log_softmax(x,1),F.softmax(y,1))
F.kl_div(F.log_softmax(x,1),F.softmax(y,1),reduction="batchmean")
F.kl_div(F.log_softmax(x,1),F.log_softmax(y,1),reduction="sum",log_target=True)
F.cosine_embedding_loss(x,y,pm)
F.cosine_embedding_loss(x,y,pm,margin=.2)
F.triplet_margin_loss(x,y,p)
F.triplet_margin_loss(x,y,p,margin=2,swap=True,p=1)
F.margin_ranking_loss(v[:3],w[:3],pm,margin=.1)
F.soft_margin_loss(v[:3],pm)
F.hinge_embedding_loss(v[:3],pm)
F.poisson_nll_loss(x,q)
F.pairwise_distance(x,y)
F.pairwise_distance(x,y,keepdim=True)
F.scaled_dot_product_attention(b,b,b)
F.scaled_dot_product_attention(b,b,b,is_causal=True)
nn.Flatten()(im)
nn.Unflatten(1,(2,2))(im)
nn.ZeroPad2d(1)(im)
nn.ZeroPad2d((1,0,2,1))(im)
nn.ReflectionPad2d(2)(im)
nn.ReplicationPad2d((1,2,0,0))(im)
nn.ConstantPad2d(1,3.5)(im)
nn.Upsample(scale_factor=2,mode="bilinear",align_corners=True)(im)
nn.Upsample(scale_factor=2)(im)
nn.Softmax2d()(im)
nn.Softmax(dim=1)(x)
nn.LogSoftmax(dim=1)(x)
nn.BatchNorm2d(4)(im)
nn.BatchNorm1d(4)(x)
nn.BatchNorm1d(4)(s)
nn.BatchNorm2d(4,affine=False,track_running_stats=False)(im)
nn.GroupNorm(2,4)(im)
nn.InstanceNorm2d(4)(im)
nn.LayerNorm([4,6,6])(im)
nn.LayerNorm(4)(x)
nn.RMSNorm(4)(x)
nn.PReLU()(x)
nn.GLU(1)(im)
nn.MSELoss()(x,y)
nn.MSELoss(reduction="sum")(x,y)
nn.CrossEntropyLoss()(x,l)
nn.NLLLoss()(F.log_softmax(x,1),l)
nn.BCELoss()(p,bits)
nn.BCEWithLogitsLoss()(x,bits)
nn.KLDivLoss(reduction="batchmean")(F.log_softmax(x,1),F.softmax(y,1))
nn.TripletMarginLoss(margin=1.0)(x,y,p)
nn.CosineSimilarity(dim=1)(x,y)
nn.PairwiseDistance(p=2)(x,y)
nn.MarginRankingLoss()(v[:3],w[:3],pm)
nn.AvgPool2d(2,stride=1,padding=1)(im)
nn.MaxPool2d(kernel_size=2,stride=2,padding=0)(im)
nn.AdaptiveAvgPool2d((1,1))(im)
nn.Identity()(x)
nn.Dropout(0.5).eval()(x)
nn.ReLU(inplace=True)(x*1)
nn.Threshold(0.1,2.)(x)
"""


def arguments(given):
    floats = {
        "x": given.randn(3, 4),
        "y": given.randn(3, 4),
        "p": given.rand(3, 4) * 0.8 + 0.1,
        "q": given.rand(3, 4) * 0.8 + 0.1,
        "v": given.randn(4),
        "w": given.randn(4),
        "sq": given.randn(4, 4),
        "im": given.randn(2, 4, 6, 6),
        "k": given.randn(6, 4, 3, 3),
        "k1": given.randn(6, 4, 3),
        "s": given.randn(2, 4, 9),
        "b6": given.randn(6),
        "b": given.randn(2, 3, 4),
        "kt": given.randn(4, 3, 3, 3),
        "kt1": given.randn(4, 3, 3),
        "pos4": given.rand(4) + 0.5,
        "theta": given.randn(2, 2, 3),
        "grid": given.rand(2, 3, 5, 2) * 2.4 - 1.2,
    }
    whole = {
        "l": torch.tensor([0, 3, 1]),
        "pm": torch.tensor([1, -1, 1]),
        "lm": given.randint(0, 4, (2, 6, 6)),
        "bits": given.randint(0, 2, (3, 4)).double(),
    }
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in floats.items()}
    return leaves, {**whole, **leaves, "torch": torch, "nn": nn, "F": F}


def parts(result):
    if isinstance(result, (tuple, list)):
        return [part for item in result for part in parts(item)]
    return [result if isinstance(result, torch.Tensor) else torch.tensor(float(result))]


def run(given):
    state = given.rng.bit_generator.state
    for call in CALLS.strip().splitlines():
        given.rng.bit_generator.state = state
        leaves, names = arguments(given)
        results = parts(eval(call, names))
        given.record(call, torch.cat([part.detach().double().flatten() for part in results]))
        slopes = []
        for part in results:
            if part.requires_grad:
                weights = torch.linspace(0.5, 2.0, part.numel()).view_as(part)
                slopes.append((weights * part.double()).sum())
        if slopes:
            sum(slopes).backward()
            slopes = [
                torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                for leaf in leaves.values()
            ]
            given.record(call + " slopes", torch.cat([slope.flatten() for slope in slopes]))
