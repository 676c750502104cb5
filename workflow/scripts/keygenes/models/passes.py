"""Passes forward and back through a model: made as they come, or on a GPU recorded and replayed.

A step of a small encoder is a thousand small kernels. A GPU runs them faster than a processor can
ask for them, so it waits most of the time. A pass that was recorded once is asked for as a whole.
"""

import contextlib

import torch

from keygenes.models.device import autocast

# Tokens times parameters of a pass beyond which the GPU has more to do than the processor.
LARGEST_RECORDED = 1e12


class Passes:
    """Passes as they come; each adds to the gradients of the model's parameters.

    Parameters
    ----------
    batch_loss : callable
        As of `train.train`.
    device : torch.device
    precision : {'auto', 'float32'}
    """

    recorded = {}  # none: each pass is made anew

    def __init__(self, batch_loss, device, precision):
        self.batch_loss, self.device, self.precision = batch_loss, device, precision

    def start(self, optimizer):
        """Let all gradients be 0."""
        optimizer.zero_grad(set_to_none=True)

    def add(self, part, share, rng):
        """Add the gradient of a share of the mean loss of some cells; return that tensor []."""
        with autocast(self.device, self.precision):
            loss = self.batch_loss(part, rng) * share
        loss.backward()
        return loss.detach()


class ReplayedPasses(Passes):
    """Passes on a GPU that are recorded when a shape comes for the second time, then replayed.

    The first pass of a shape lets libraries choose their kernels, which must not be recorded. The
    gradients stay where they are from the first step on: what is recorded adds to them there.
    Dropout draws in a replay what it would draw otherwise.

    Parameters
    ----------
    batch_loss : callable
        ``batch_loss.inputs(part)`` -> tensors on the device; ``batch_loss.of(*inputs)`` -> mean
        loss of `batch_loss.model`, by the same kernels for inputs of the same shapes, without a
        look at their values.
    """

    def __init__(self, batch_loss, device, precision):
        super().__init__(batch_loss, device, precision)
        self.met, self.recorded = set(), {}
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        self.n_parameters = sum(p.numel() for p in batch_loss.model.trunk.layers.parameters())

    def start(self, optimizer):
        """Let all gradients be 0, where they are."""
        optimizer.zero_grad(set_to_none=not self.met)

    def add(self, part, share, rng):
        """Add the gradient of a share of the mean loss of some cells; return that tensor []."""
        inputs = self.batch_loss.inputs(part)
        shapes = tuple(tensor.shape for tensor in inputs)
        share = torch.full((), share, device=self.device)
        if shapes not in self.met or part_size(inputs) * self.n_parameters > LARGEST_RECORDED:
            self.met.add(shapes)
            return self.passed(inputs, share)
        if shapes not in self.recorded:
            self.recorded[shapes] = self.record([*inputs, share])
        graph, held, loss = self.recorded[shapes]
        for own, new in zip(held, [*inputs, share], strict=True):
            own.copy_(new)
        graph.replay()
        return loss.clone()  # the next replay writes to the same memory

    def passed(self, inputs, share):
        """Add a gradient; return the loss."""
        with autocast(self.device, self.precision, cache=False):
            loss = self.batch_loss.of(*inputs) * share
        loss.backward()
        return loss.detach()

    def record(self, inputs):
        """Return the recording of a pass, the inputs that it reads and the loss that it writes."""
        held, graph = [tensor.clone() for tensor in inputs], torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            # not torch.cuda.graph, which empties the memory's cache before every recording
            graph.capture_begin(pool=self.pool)
            try:
                loss = self.passed(held[:-1], held[-1])
            except RuntimeError:
                with contextlib.suppress(RuntimeError):  # the first error says what is wrong
                    graph.capture_end()
                raise
            graph.capture_end()
        torch.cuda.current_stream().wait_stream(self.stream)
        return graph, held, loss


def part_size(inputs):
    """Return the number of tokens, or of cells, of the largest of some inputs."""
    return max(tensor.shape[:2].numel() for tensor in inputs if tensor.ndim)


def kind_of_passes(device, replayed):
    """Return the class of passes of a training: replayed on a GPU, where its loss allows it."""
    return ReplayedPasses if replayed and device.type == "cuda" else Passes
