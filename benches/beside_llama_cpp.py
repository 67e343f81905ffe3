#!/usr/bin/env python3
"""Prefill and decode beside llama.cpp, on the same weights, in one run.

    pip install numpy gguf
    npm pack @node-llama-cpp/linux-x64 && tar xzf node-llama-cpp-linux-x64-*.tgz
    benches/beside_llama_cpp.py --llama package/bins/linux-x64 --memos target/release/memos

The weights are those of a formula (`runtime/engine/src/chance.rs`), in the shape of SmolLM2-135M: what a model says does not
change how long it takes. They are written as GGUF here, and made by the same formula in `memos bench decode`. Each measure is
taken in turns, round by round, and the median is told. llama.cpp is asked through its C interface, with the kernels that it
chooses for this processor.
"""

import argparse
import ctypes as c
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

SEED = 1
SHAPE = dict(vocabulary=49152, hidden=576, layers=30, heads=9, kv_heads=3, head_size=64, feed_forward=1536, theta=100000.0)


def numbers(seed, number, count):
    """The numbers of a weight, over -1 and under 1: SplitMix64, as in `dice.rs`."""
    state = np.uint64((seed + (number << 40)) & (2**64 - 1))
    with np.errstate(over="ignore"):
        bits = state + (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)).astype(np.float64) / 2**53 * 2 - 1


def weights(shape):
    """All weights in their order: (published name, name in GGUF, numbers)."""
    hidden, inner = shape["hidden"], shape["feed_forward"]
    query, key = shape["heads"] * shape["head_size"], shape["kv_heads"] * shape["head_size"]
    linears = [
        ("self_attn.q_proj", "attn_q", query, hidden),
        ("self_attn.k_proj", "attn_k", key, hidden),
        ("self_attn.v_proj", "attn_v", key, hidden),
        ("self_attn.o_proj", "attn_output", hidden, query),
        ("mlp.gate_proj", "ffn_gate", inner, hidden),
        ("mlp.up_proj", "ffn_up", inner, hidden),
        ("mlp.down_proj", "ffn_down", hidden, inner),
    ]
    listed = [("model.embed_tokens.weight", "token_embd.weight", (shape["vocabulary"], hidden))]
    for layer in range(shape["layers"]):
        ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
        listed.append((f"{ours}.input_layernorm.weight", f"{theirs}.attn_norm.weight", (hidden,)))
        listed.append((f"{ours}.post_attention_layernorm.weight", f"{theirs}.ffn_norm.weight", (hidden,)))
        for name, gguf, out, width in linears:
            listed.append((f"{ours}.{name}.weight", f"{theirs}.{gguf}.weight", (out, width)))
            if shape.get("query_bias") and name[10:] in ("q_proj", "k_proj", "v_proj"):
                listed.append((f"{ours}.{name}.bias", f"{theirs}.{gguf}.bias", (out,)))
        if shape.get("head_norm"):
            for norm in "qk":
                size = (shape["head_size"],)
                listed.append((f"{ours}.self_attn.{norm}_norm.weight", f"{theirs}.attn_{norm}_norm.weight", size))
    listed.append(("model.norm.weight", "output_norm.weight", (hidden,)))
    for number, (ours, theirs, size) in enumerate(listed):
        raw = numbers(SEED, number, int(np.prod(size)))
        if len(size) == 2:
            raw = raw * np.sqrt(3 / size[1])
        elif ours.endswith("norm.weight"):
            raw = raw * 0.1 + 1
        else:
            raw = raw * 0.1
        yield ours, theirs, raw.astype(np.float32).reshape(size)


def turned(weight, heads):
    """The rows of a query or key layer in the order that llama.cpp wants for the Llama family: pairs beside each other."""
    out, width = weight.shape
    return weight.reshape(heads, 2, out // heads // 2, width).swapaxes(1, 2).reshape(out, width)


def write_gguf(path, shape, quantized):
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["feed_forward"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_dimension_count(shape["head_size"])
    writer.add_rope_freq_base(shape["theta"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_tokenizer_model("none")
    kind = gguf.GGMLQuantizationType.Q8_0
    for _, name, weight in weights(shape):
        if ".attn_q." in name:
            weight = turned(weight, shape["heads"])
        elif ".attn_k." in name:
            weight = turned(weight, shape["kv_heads"])
        if quantized and weight.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Batch(c.Structure):
    _fields_ = [("count", c.c_int32)] + [
        (name, c.c_void_p) for name in ("tokens", "embeddings", "positions", "counts", "sequences", "outputs")
    ]


class ModelParameters(c.Structure):
    _fields_ = [
        ("devices", c.c_void_p), ("overrides", c.c_void_p), ("gpu_layers", c.c_int32), ("split", c.c_int),
        ("main_gpu", c.c_int32), ("tensor_split", c.c_void_p), ("progress", c.c_void_p), ("progress_data", c.c_void_p),
        ("kv_overrides", c.c_void_p), ("flags", c.c_bool * 8), ("spare", c.c_byte * 64),
    ]


class ContextParameters(c.Structure):
    """The first words are set by their place; the rest is kept as the library gives it."""

    _fields_ = [("words", c.c_uint32 * 64)]

    def set(self, context, threads):
        # The number of threads stands twice, 4 by default, behind a count of fields that differs between versions.
        words = list(self.words[:16])
        pairs = [place for place in range(4, 15) if words[place : place + 2] == [4, 4]]
        if words[1:3] != [2048, 512] or len(pairs) != 1:
            raise SystemExit("this llama.cpp has another interface than this script knows")
        self.words[0] = context
        self.words[pairs[0]] = self.words[pairs[0] + 1] = threads


class Llama:
    """llama.cpp through its C interface."""

    def __init__(self, folder):
        folder = Path(folder)
        found = lambda name: str(sorted(folder.glob(name + "*"))[0])
        for name in ("libggml-base.so", "libggml.", "libllama."):
            library = c.CDLL(found(name), mode=c.RTLD_GLOBAL)
            if name == "libggml.":
                library.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
                library.ggml_backend_load_all_from_path(str(folder).encode())
        self.library = library
        library.llama_model_default_params.restype = ModelParameters
        library.llama_context_default_params.restype = ContextParameters
        library.llama_model_load_from_file.argtypes = [c.c_char_p, ModelParameters]
        library.llama_model_load_from_file.restype = c.c_void_p
        library.llama_init_from_model.argtypes = [c.c_void_p, ContextParameters]
        library.llama_init_from_model.restype = c.c_void_p
        library.llama_decode.argtypes = [c.c_void_p, Batch]
        library.llama_get_logits_ith.argtypes = [c.c_void_p, c.c_int32]
        library.llama_get_logits_ith.restype = c.POINTER(c.c_float)
        library.llama_get_memory.argtypes = [c.c_void_p]
        library.llama_get_memory.restype = c.c_void_p
        library.llama_memory_clear.argtypes = [c.c_void_p, c.c_bool]
        for name in ("llama_free", "llama_model_free"):
            getattr(library, name).argtypes = [c.c_void_p]
        quiet = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
        self.quiet = quiet(lambda level, text, _: os.write(2, text) if "LLAMA_LOG" in os.environ else None)
        library.llama_log_set.argtypes = [quiet, c.c_void_p]
        library.llama_log_set(self.quiet, None)
        library.llama_backend_init()

    def open(self, path, threads, context=4096):
        model = self.library.llama_model_load_from_file(str(path).encode(), self.library.llama_model_default_params())
        parameters = self.library.llama_context_default_params()
        parameters.set(context, threads)
        return Session(self.library, model, self.library.llama_init_from_model(model, parameters))


class Session:
    def __init__(self, library, model, context):
        self.library, self.model, self.context = library, model, context

    def forget(self):
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)

    def read(self, tokens):
        kept = (c.c_int32 * len(tokens))(*tokens)
        batch = Batch(len(tokens), c.cast(kept, c.c_void_p))
        if self.library.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp failed")

    def logits(self, vocabulary):
        return np.ctypeslib.as_array(self.library.llama_get_logits_ith(self.context, -1), (vocabulary,)).copy()

    def close(self):
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)


def measure_llama(session, prefill, decode):
    """Tokens a second of reading a text, and of saying tokens behind it."""
    tokens = [(7919 * place + 13) % SHAPE["vocabulary"] for place in range(prefill)]
    session.forget()
    started = time.perf_counter()
    session.read(tokens)
    session.logits(SHAPE["vocabulary"])
    middle = time.perf_counter()
    for _ in range(decode):
        session.read([int(session.logits(SHAPE["vocabulary"]).argmax())])
    ended = time.perf_counter()
    return prefill / (middle - started), decode / (ended - middle)


def measure_memos(program, kind, threads, prefill, decode):
    command = [program, "bench", "decode", "--json", "--kind", kind, "--rounds", "1", "--alone"]
    command += ["--prefill", str(prefill), "--decode", str(decode)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "CANDLE_NUM_THREADS": str(threads)}
    said = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    (figures,) = said["alone"]
    return figures["prefill_tokens_per_s"], figures["decode_tokens_per_s"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--llama", required=True, help="the folder of libllama.so")
    arguments.add_argument("--memos", help="the program; without it llama.cpp is measured alone")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--prefill", type=int, default=512)
    arguments.add_argument("--decode", type=int, default=64)
    arguments.add_argument("--kinds", default="f32,q8_0")
    arguments.add_argument("--threads", default="1,2")
    arguments.add_argument("--folder", help="where GGUF files are kept; a temporary one without it")
    arguments = arguments.parse_args()
    llama = Llama(arguments.llama)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        cells = []
        for kind in arguments.kinds.split(","):
            path = folder / f"chance-{kind}.gguf"
            if not path.exists():
                write_gguf(path, SHAPE, kind == "q8_0")
            for threads in map(int, arguments.threads.split(",")):
                session = llama.open(path, threads)
                measure_llama(session, 64, 2)
                theirs, ours = [], []
                for _ in range(arguments.rounds):
                    theirs.append(measure_llama(session, arguments.prefill, arguments.decode))
                    if arguments.memos:
                        ours.append(measure_memos(arguments.memos, kind, threads, arguments.prefill, arguments.decode))
                session.close()
                cell = {"kind": kind, "threads": threads, "load": os.getloadavg()[0]}
                for place, name in enumerate(("prefill", "decode")):
                    their = statistics.median(pair[place] for pair in theirs)
                    cell[f"llama_{name}_tokens_per_s"] = round(their, 1)
                    if ours:
                        our = statistics.median(pair[place] for pair in ours)
                        cell[f"{name}_tokens_per_s"] = round(our, 1)
                        cell[f"{name}_over_llama"] = round(our / their, 3)
                cells.append(cell)
                print(json.dumps(cell), flush=True)


if __name__ == "__main__":
    main()
