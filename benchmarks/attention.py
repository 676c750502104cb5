"""Price of attention statistics over a plain forward pass, and against storing the attention.

    .venv/bin/python benchmarks/attention.py

One process, an encoder of Geneformer V1's size with random weights (speed does not depend on
them), cells of one length in a batch of about 4,096 tokens, on a GPU in four of 65,536:

- plain: transformers' forward pass with fused attention, which is what any use of the model costs;
- ours: with every statistic of attention but the norm over heads, summed by rank, gene and class;
- ours_pairs: with that norm as well;
- received_off_in_bf16: how far attention received in bf16, as on a GPU, is from float32, in the
  first layer, over all its heads and positions: no time, but the price of `attention.precision`;
- eager: ``output_attentions=True`` and the same statistics from the matrices it returns, which is
  what a user would write;
- agreement: two models on the same cells with the cosines of their attention, over two plain
  passes.

On a GPU plain, ours and eager also run in bf16, and are held against each other there; so are
plain and ours of an encoder of V2-104M's size.
"""

import sys
from pathlib import Path

import numpy as np
import timing
import torch
from transformers import BertModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from keygenes.attention.agreement import compared_cells  # noqa: E402
from keygenes.attention.expected import Sizes  # noqa: E402
from keygenes.attention.fused import Fused  # noqa: E402
from keygenes.attention.norms import value_norms  # noqa: E402
from keygenes.attention.stream import LayerStatistics  # noqa: E402
from keygenes.attention.sums import (  # noqa: E402
    Shape,
    Subset,
    Sums,
    add_attention,
    add_batch,
    sums_of_model,
)
from keygenes.models.encoder import small_config  # noqa: E402
from keygenes.models.families.geneformer import Trunk  # noqa: E402

TOKENS, CLASSES, LONGEST = 25_426, 5, 2048
BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
N_BATCHES = {"cpu": 1, "cuda": 4}
PRECISIONS = {"": torch.float32, "_bf16": torch.bfloat16}
# statistics over a plain pass of the same precision, eager over statistics, peak memory over plain
TARGETS = {
    "cpu": {("ours", 683): "<= 1.5", ("ours", 2048): "<= 1.6", ("eager", 2048): ">= 1.5"},
    "cuda": {
        **{("ours_bf16", 683): "<= 1.3", ("ours_bf16", 2048): "<= 1.5"},
        **{("ours", 683): "<= 1.6", ("ours", 2048): "<= 2.0"},
        **{("eager", 683): ">= 3", ("eager", 2048): ">= 8"},
    },
}
SHAPE = {"layers": 6, "heads": 4, "hidden": 256}
LARGER = {"layers": 12, "heads": 12, "hidden": 768}


def encoder(device, build=BertModel, shape=None):
    """Return an encoder with random weights, transformers' or our own."""
    config = small_config(vocabulary_size=TOKENS, max_length=LONGEST, **(shape or SHAPE))
    torch.manual_seed(0)
    return build(config, False).eval().to(device)


def cells_per_batch(length, device):
    """Return how many cells go through a model at once."""
    return max(1, BATCH_TOKENS[device.type] // length)


def random_cells(length, device):
    """Return some batches of cells of a length."""
    rng = np.random.default_rng(0)
    genes = np.arange(2, TOKENS)
    n_cells = N_BATCHES[device.type] * cells_per_batch(length, device)
    return [rng.permutation(genes)[:length] for _ in range(n_cells)]


def batches(cells, device):
    """Yield ids and mask of batches, as a user would make them of cells of one length."""
    at_once = cells_per_batch(len(cells[0]), device)
    for start in range(0, len(cells), at_once):
        ids = torch.from_numpy(np.stack(cells[start : start + at_once])).to(device)
        yield ids, torch.ones_like(ids)


def computing_in(trunk, precision):
    """Return the context of a precision."""
    return torch.autocast(trunk.device.type, precision, enabled=precision != torch.float32)


def finish(device):
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def plain(trunk, cells, precision=torch.float32):
    """Run the forward pass alone."""
    trunk.set_attn_implementation("sdpa")
    with computing_in(trunk, precision):
        for ids, mask in batches(cells, trunk.device):
            trunk(input_ids=ids, attention_mask=mask)
    finish(trunk.device)


def ours(trunk, cells, precision=torch.float32, pair_norms=False):
    """Run the forward pass with our statistics."""
    classes = np.arange(len(cells)) % CLASSES
    sizes = Sizes(np.array([len(cell) for cell in cells]), np.ones(len(cells)))
    subset, how = Subset("test", cells, sizes, classes, classes), {"pair_norms": pair_norms}
    with computing_in(trunk, precision):
        sums = sums_of_model(trunk, CLASSES, CLASSES, LONGEST)
        add_attention(sums, trunk, subset, batch_tokens=BATCH_TOKENS[trunk.device.type], **how)
    finish(trunk.device)


def agreement(trunks, cells, precision=torch.float32):
    """Run two models and compare their attention."""
    with computing_in(trunks[0], precision):
        for _ in compared_cells(
            dict(enumerate(trunks)), [(0, 1)], cells, BATCH_TOKENS[trunks[0].device.type]
        ):
            pass


@torch.inference_mode()
def eager(trunk, cells, precision=torch.float32):
    """Run the forward pass, let it return its attention, and reduce that."""
    trunk.set_attn_implementation("eager")
    config = trunk.config
    n_layers, heads = config.num_hidden_layers, config.num_attention_heads
    sums = Sums(Shape(n_layers, heads, TOKENS, CLASSES, CLASSES), LONGEST, trunk.device)
    for ids, mask in batches(cells, trunk.device):
        with computing_in(trunk, precision):
            output = trunk(
                input_ids=ids,
                attention_mask=mask,
                output_attentions=True,
                output_hidden_states=True,
            )
        layers = eager_statistics(trunk, output, ids)
        codes = torch.zeros(4, len(ids), dtype=torch.int64, device=trunk.device)
        codes[:2] = torch.arange(len(ids), device=trunk.device) % CLASSES
        add_batch(sums, layers, ids, mask, codes)
        del output, layers
    finish(trunk.device)


def eager_statistics(trunk, output, ids):
    """Return the statistics of every layer from the attention that a pass has returned."""
    (n_cells, length), heads = ids.shape, trunk.config.num_attention_heads
    last = int(np.ceil(0.9 * length))
    layers = []
    for layer, a, hidden in zip(
        trunk.encoder.layer, output.attentions, output.hidden_states, strict=False
    ):
        attention, a, hidden = layer.attention, a.float(), hidden.float()
        values = attention.self.value(hidden).view(n_cells, length, heads, -1).transpose(1, 2)
        rows = {
            "entropy": torch.special.entr(a).sum(-1).mean(-1),
            "to_self": a.diagonal(dim1=2, dim2=3).mean(-1),
            "to_first": a[..., 0].mean(-1),
            "to_last_decile": a[..., last:].sum(-1).mean(-1),
        }
        context = (a @ values).transpose(1, 2).flatten(2)
        output_norm = (context @ attention.output.dense.weight.T).norm(dim=-1)
        norms = value_norms(values, attention.output.dense.weight)
        layers.append(LayerStatistics(a.sum(2), rows, norms, None, output_norm))
    return layers


@torch.inference_mode()
def off_in_bf16(trunk, cells):
    """Return how far attention received is off in bf16, relative to float32: all positions.

    Computed as on a GPU, on a CPU too.
    """
    ids, mask = next(batches(cells, trunk.device))
    query, key, value = trunk.layers[0].heads(trunk.embeddings(ids))
    received = []
    for dtype in (torch.float32, torch.bfloat16):
        _, found, *_ = Fused(mask).reduced(query.to(dtype), key.to(dtype), value.to(dtype))
        received.append(found.flatten())
    return ((received[1] - received[0]).abs() / received[0]).cpu().numpy()


def candidates(trunks, hub, cells):
    """Return what is timed at a length: functions by name."""
    trunk = trunks[0]
    named = {
        "ours_pairs": lambda: ours(trunk, cells, pair_norms=True),
        "agreement": lambda: agreement(trunks, cells),
    }
    for name, precision in PRECISIONS.items():
        if name and trunk.device.type == "cpu":
            continue
        named |= {
            "plain" + name: lambda precision=precision: plain(hub, cells, precision),
            "ours" + name: lambda precision=precision: ours(trunk, cells, precision),
            "eager" + name: lambda precision=precision: eager(hub, cells, precision),
        }
    return named


def memory_on_card(run):
    """Return the most memory in MB that a card gives to a call, beside what it holds before."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def run_alone(name, length, threads, shape):
    """Run one candidate where nothing else has run: for the memory that it takes."""
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    build = Trunk if name.startswith("ours") else BertModel
    trunks = [encoder(cpu, build, shape)] * 2
    candidates(trunks, trunks[0], random_cells(length, cpu))[name]()


def per_cell_fit(lengths, seconds):
    """Return (linear, quadratic) coefficients of seconds per cell over length, both >= 0."""
    design = np.stack([lengths, np.square(lengths)], 1).astype(float)
    scale = design.max(0)
    weights = 1 / np.asarray(seconds)  # relative errors count alike
    fit = np.linalg.lstsq(design / scale * weights[:, None], np.ones(len(lengths)), rcond=None)[0]
    return fit / scale


def of_length(timed, length, n_cells, device):
    """Return the results of one length."""
    seconds = {name: of_name["all_seconds"] for name, of_name in timed.items()}
    targets = TARGETS[device.type]
    results = []
    for name in PRECISIONS:
        if "ours" + name not in seconds:
            continue
        us, base, stored = (seconds[kind + name] for kind in ("ours", "plain", "eager"))
        over = {f"ours{name}_over_plain{name}": (us / base, targets.get(("ours" + name, length)))}
        over[f"eager{name}_over_ours{name}"] = (stored / us, targets.get(("eager", length)))
        results += [
            timing.result(f"{key}_{length}", timing.spread(ratio), target)
            for key, (ratio, target) in over.items()
        ]
        rate = timing.spread(n_cells / us)
        results.append(timing.result(f"cells_per_second_ours{name}_{length}", rate, unit="/s"))
    target = "<= 2.0" if ("ours", length) in targets and device.type == "cpu" else None
    pairs, two = seconds["ours_pairs"] / seconds["plain"], seconds["agreement"] / seconds["plain"]
    results.append(timing.result(f"ours_pairs_over_plain_{length}", timing.spread(pairs), target))
    results.append(timing.result(f"agreement_over_two_plain_{length}", timing.spread(two / 2)))
    return results


def of_larger(repeats, device):
    """Return the results of an encoder of the size of Geneformer V2-104M, in bf16."""
    trunks, hub = [encoder(device, Trunk, LARGER)], encoder(device, shape=LARGER)
    runs = candidates(trunks, hub, random_cells(LONGEST, device))
    chosen = {name: runs[f"{name}_bf16"] for name in ("plain", "ours")}
    ratio = timing.ratios(chosen, "plain", repeats)["ours"]["ratio"]
    return [timing.result(f"v2_104m_ours_bf16_over_plain_bf16_{LONGEST}", ratio, "<= 1.5")]


def main():
    """Time all candidates at every length and print the ratios."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = [(f"--{name}", {"type": int, "default": n}) for name, n in SHAPE.items()]
    more = [("--device", {"default": device}), ("--lengths", {"type": int, "nargs": "*"}), *sizes]
    options = timing.arguments(__doc__, more, threads=2)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    shape = {name: getattr(options, name) for name in SHAPE}
    trunks = [encoder(device, Trunk, shape) for _ in range(2)]
    hub = encoder(device, shape=shape)
    lengths = options.lengths or ([256, 683] if options.quick else [256, 683, 1430, 2048])
    results, per_cell = [], {"plain": [], "ours": []}
    for length in lengths:
        cells = random_cells(length, device)
        timed = timing.ratios(candidates(trunks, hub, cells), "plain", options.repeats)
        results += of_length(timed, length, len(cells), device)
        for name, medians in per_cell.items():
            medians.append(timed[name]["seconds"]["value"] / len(cells))
    off = 100 * off_in_bf16(trunks[0], random_cells(lengths[len(lengths) // 2], device))
    for name, share in (("median", 0.5), ("99_of_100", 0.99)):
        value = float(np.quantile(off, share))
        results.append(timing.result(f"received_off_in_bf16_{name}", value, unit="%"))
    if device.type == "cuda" and not options.quick:
        results += of_larger(options.repeats, device)
    for name, of_name in per_cell.items():
        linear, quadratic = per_cell_fit(lengths, of_name)
        results.append(timing.result(f"ms_per_1000_tokens_{name}", 1e6 * linear, unit="ms"))
        results.append(timing.result(f"ms_per_million_pairs_{name}", 1e9 * quadratic, unit="ms"))
    longest = lengths[-1]
    runs = candidates(trunks, hub, random_cells(longest, device))
    names = [name for name in runs if name != "agreement"]
    peak = {
        name: memory_on_card(runs[name])
        if device.type == "cuda"
        else timing.apart(run_alone, name, longest, options.threads, shape)[2]
        for name in names
    }
    for name in names:
        base = "plain_bf16" if name.endswith("_bf16") else "plain"
        if name != base:
            target = "<= 1.25" if name.startswith("ours") and name != "ours_pairs" else None
            key = f"peak_memory_{name}_over_{base}_{longest}"
            results.append(timing.result(key, peak[name] / peak[base], target))
    results.append(timing.result(f"peak_memory_plain_{longest}", peak["plain"], unit="MB"))
    notes = {
        "device": timing.device_name(device),
        "threads": options.threads,
        "batch_tokens": BATCH_TOKENS[device.type],
        "lengths": ", ".join(map(str, lengths)),
        "encoder": f"{shape['layers']} layers, {shape['heads']} heads, {shape['hidden']} wide",
    }
    timing.emit("attention", results, notes)


if __name__ == "__main__":
    main()
