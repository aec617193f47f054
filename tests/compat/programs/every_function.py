"""Functions and methods one by one, with the gradients of their arguments."""

import torch
import torch.nn as nn
import torch.nn.functional as F

CALLS = """
torch.abs(x)
torch.neg(x)
torch.mul(x,y)
torch.pow(p,2)
torch.pow(p,q)
torch.square(x)
torch.sqrt(p)
torch.rsqrt(p)
torch.reciprocal(x)
torch.exp(x)
torch.expm1(x)
torch.log(p)
torch.log1p(p)
torch.log2(p)
torch.log10(p)
torch.sin(x)
torch.cos(x)
torch.tan(x)
torch.atan(x)
torch.atan2(x,y)
torch.hypot(x,y)
torch.sinh(x)
torch.cosh(x)
torch.tanh(x)
torch.sigmoid(x)
torch.relu(x)
torch.erf(x)
torch.erfc(x)
torch.sign(x)
torch.floor(x)
torch.ceil(x)
torch.round(x)
torch.round(x,decimals=1)
torch.trunc(x)
torch.frac(x)
torch.clamp(x,-.5,.5)
torch.clamp(x,min=-.5)
torch.clamp(x,max=.5)
x.clamp_min(0.1)
x.clamp(0)
torch.maximum(x,y)
torch.max(x,y)
torch.min(x,y)
torch.minimum(x,y)
torch.where(x>0,x,y)
torch.where(x>0,x,0.)
torch.where(x>0,1.,y)
torch.remainder(x,0.7)
torch.fmod(x,0.7)
n//d
n%d
n/d
torch.floor_divide(n,d)
torch.remainder(n,d)
torch.fmod(n,d)
torch.div(n,d,rounding_mode="trunc")
torch.div(n,d,rounding_mode="floor")
n+1.5
n*2
n+x[0]
n.float()+1
x+n
n>2
n==d
n!=d
(n>2)&(d>2)
(n>2)|(d>2)
~(n>2)
(n>2)^(d>2)
n&d
n.sum()
n.float().mean()
n.prod()
n.max()
n.cumsum(0)
n.abs()
-n
n**2
n.clamp(0,5)
(n>2).sum()
(n>2).float().mean()
(n>2).any()
(n>2).all()
torch.eq(x,y)
torch.logaddexp(x,y)
torch.logit(p)
torch.logit(p,eps=0.3)
torch.nan_to_num(x)
torch.dist(x,y)
torch.trace(sq)
torch.inner(x,y)
torch.take(x,l)
torch.fliplr(x)
torch.flipud(x)
torch.addmm(m4,sq,m4)
torch.addmm(m4,sq,m4,beta=2,alpha=3)
torch.addcmul(x,y,p,value=2)
torch.addcdiv(x,y,p,value=2)
torch.lerp(x,y,0.3)
torch.mm(x,sq)
torch.bmm(b,c)
torch.mv(x,v)
torch.matmul(b,c)
torch.matmul(x,v)
x@v
torch.dot(v,w)
torch.outer(v,w)
torch.sum(x)
torch.sum(x,1)
torch.sum(x,[0,1])
x.sum(dim=(0,1),keepdim=True)
torch.mean(x,0,True)
x.mean([0,1])
x.prod()
x.prod(1)
x.amax(1)
x.amin(dim=(0,1))
x.amax()
torch.logsumexp(x,1)
torch.logsumexp(x,(0,1))
x.cumsum(1)
torch.cumprod(x,1)
x.argmax()
x.argmax(1)
x.argmax(1,keepdim=True)
x.argmin(dim=0)
torch.count_nonzero(bo)
x.softmax(1)
torch.log_softmax(x,dim=0)
torch.flip(x,[0])
x.flip(0,1)
torch.roll(x,1)
torch.roll(x,1,0)
torch.roll(x,(1,2),(0,1))
torch.triu(sq)
torch.tril(sq,-1)
torch.tile(x,(2,1))
x.tile(2)
x.repeat(2,3)
x.repeat(2,1,1)
x.repeat_interleave(2)
x.repeat_interleave(2,dim=1)
x.gather(1,i)
x.take_along_dim(i,1)
torch.zeros(3,4).scatter(1,i,2.0)
torch.zeros(3,4).scatter_add(1,i,x)
x.scatter_add(0,i%3,y)
x.index_select(0,i1)
x.index_select(1,i1)
torch.zeros(4,4).index_add(0,l,x)
x.masked_fill(bo,0.5)
x.masked_fill(bo,-1e9)
x.clone()
torch.allclose(x,x+1e-12)
torch.isclose(x,y)
torch.isnan(x)
torch.logical_and(bo,~bo)
torch.logical_not(bo)
torch.bincount(l)
torch.bincount(l,minlength=6)
torch.masked_select(x,bo)
x.numel()
x[bo]
x.reshape(4,3)
x.reshape(-1)
x.view(2,-1)
x.view((2,6))
b.permute(2,0,1)
torch.permute(b,(1,0,2))
b.transpose(0,2)
b.transpose(-1,-2)
b.movedim(0,2)
x.t()
x.T
v.unsqueeze(0)
v.unsqueeze(-1)
b[:1].squeeze()
b[:1].squeeze(0)
b.squeeze(1)
b[:1].squeeze((0,1))
b.flatten()
b.flatten(1)
torch.flatten(b,0,1)
b.unflatten(2,(2,2))
x.unfold(1,2,1)
b.unfold(1,2,1)
b.unfold(-1,3,2)
b.mT
v.expand(3,4)
v.expand(3,-1)
x[:,:1].expand(-1,5)
v.expand_as(x)
v.view_as(sq[0])
sq.diagonal()
sq.diagonal(1)
torch.diag(v)
torch.diag(sq)
torch.diag(v,1)
torch.cat([x,y])
torch.cat((x,y),dim=1)
torch.cat([x,n[None].double()],0)
torch.stack([x,y],dim=1)
torch.hstack([x,y])
torch.vstack([v,w])
torch.column_stack([v,w])
torch.cdist(x,y)
torch.cdist(x,y,p=1)
torch.cosine_similarity(x,y)
F.cosine_similarity(x,y,dim=0)
torch.isin(n,d)
torch.tensordot(x,sq,dims=1)
torch.tensordot(b,c,dims=([2],[1]))
torch.einsum("ij,jk->ik",x,sq)
torch.einsum("bij,bjk->bik",b,c)
torch.einsum("ii->i",sq)
torch.einsum("i,j",v,w)
x.max(1)
x.max(dim=0,keepdim=True)
x.max()
x.min(1)
torch.median(v)
x.median(1)
x.median()
x.sort()
x.sort(dim=0,descending=True)
x.argsort(1)
x.topk(2)
x.topk(2,dim=0,largest=False)
v.kthvalue(2)
x.var()
x.var(1)
x.var(1,unbiased=False)
x.var(dim=[0,1],keepdim=True)
x.std()
x.std(0)
torch.var(x,dim=1,correction=0)
torch.var_mean(x,dim=1)
torch.std_mean(x)
x.norm()
x.norm(1)
x.norm(p=2,dim=1)
x.norm(dim=1,keepdim=True)
torch.norm(x)
torch.norm(x,p="fro")
torch.linalg.norm(x)
torch.linalg.vector_norm(x,dim=1)
x.nonzero()
bo.nonzero(as_tuple=True)
torch.unique(n)
x.narrow(1,1,2)
x.diff(dim=0)
torch.diff(x, n=2)
x.select(1,2)
x.split(2)
x.split(2,dim=1)
x.split([1,3],dim=1)
x.chunk(2,1)
x.chunk(3,dim=1)
x.unbind()
x.unbind(1)
torch.meshgrid(v,w,indexing="ij")
x[0]
x[:,1]
x[...,None]
x[None]
x[1:,::2]
x[:,i1]
x[i1,i1]
x[-1,-1]
x[x>0]
torch.add(x,y,alpha=2)
torch.sub(x,y,alpha=2)
x-y*2/3
2-x
2/p
2**x
1-p
-x
abs(x)
x.long()
x.int()
x.bool()
n.double()
x.type(torch.float32)
x.to(torch.float32)
x.type_as(n)
torch.tensor([1,2,3])
torch.tensor([1.,2])
torch.tensor(3)
torch.tensor(True)
torch.tensor([[1,2],[3,4]]).float()
torch.arange(5)
torch.arange(1,6,2)
torch.arange(0,1,.25)
torch.arange(3.)
torch.linspace(0,1,5)
torch.logspace(0,2,3)
torch.eye(3)
torch.eye(2,3)
torch.full((2,2),3)
torch.full((2,),2.5)
torch.zeros(2,3)
torch.zeros((2,3),dtype=torch.int64)
torch.ones_like(n)
torch.zeros_like(x)
torch.full_like(x,2)
x.new_zeros(2,2)
x.new_tensor([1,2])
x.new_ones(3)
torch.ones(2,3)*n[:3]
torch.zeros(3)+torch.arange(3)
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
        "m4": given.randn(4, 4),
        "b": given.randn(2, 3, 4),
        "c": given.randn(2, 4, 5),
    }
    whole = {
        "i": torch.tensor([[0, 2, 1, 3], [3, 3, 0, 1], [1, 0, 2, 2]]),
        "l": torch.tensor([0, 3, 1]),
        "i1": torch.tensor([2, 0]),
        "n": torch.tensor([7, -7, 5, 3]),
        "d": torch.tensor([2, 3, -2, 4]),
        "bo": torch.tensor([[True, False, True, False]] * 3),
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
