"""cases.py - the table of golden models: how each is made, and what is expected of it.
SPDX-License-Identifier: Apache-2.0

make_golden.py makes NAME.gguf and NAME.vec from a row, test_golden.py checks the engine against
them. A row runs when its architecture and its type are in the two sets below; the others are not
counted. So a new architecture costs a name in a set.
"""
from collections import namedtuple

# What the engine can do today, by general.architecture and by tensor type.
ARCHITECTURES = set("""llama llama4 mistral3 qwen2 qwen2moe qwen3 qwen3moe qwen3next qwen35 qwen35moe gemma gemma2
    gemma3 gemma4 phi2 phi3 phimoe starcoder2 glm4 smollm3 deepseek2 gpt-oss granite granitemoe command-r cohere2
    olmo2 exaone exaone4 stablelm bert nomic-bert gemma-embedding""".split())
TYPES = {"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k",
         "q6_k", "iq4_nl", "iq4_xs", "mxfp4"}

# name: of the files; arch: general.architecture; make: arguments of the maker; type: of the matrices;
# tolerance: how far a logit may lie from the reference's on f32 files, in standard deviations.
Case = namedtuple("Case", "name arch make type tolerance")

F32 = 2e-4
GELU = 3e-3  # the reference takes the tanh form from a table with f16 arguments and values
GELU4 = 1.2e-2  # the same with gemma4's wide activations

MICRO = "--preset micro --embd 24 --heads 3 --kv-heads 1 --head-dim 8 --ff 32 --vocab 293"
WIDER = "--preset micro --embd 32 --head-dim 8 --ff 48"
EXPERTS = "--preset micro --embd 16 --heads 2 --kv-heads 1 --head-dim 8 --ff 24 --vocab 293 --set expert_count=4 --set expert_used_count=2"
SMALL_EXPERTS = EXPERTS + " --set expert_feed_forward_length=16"


def arch(name, family, options="", tolerance=F32, shape=MICRO, gguf=None, seed=11):
    return Case("arch-" + name, gguf or family, "--arch %s %s %s --seed %d" % (family, shape, options, seed),
                "f32", tolerance)


ARCH_CASES = [
    arch("llama", "llama", shape=WIDER),
    arch("llama-tied-factors", "llama", "--opt tied,rope_freqs --heads 6 --kv-heads 3 --vocab 331"),
    arch("llama-bias-linear", "llama", "--opt bias,linear --heads 4 --kv-heads 4"),
    arch("llama-yarn", "llama", "--opt yarn --kv-heads 1 --embd 40 --head-dim 12"),
    arch("mixtral", "mixtral", shape=EXPERTS, gguf="llama"),
    arch("qwen2", "qwen2", shape=WIDER),
    arch("qwen2-tied-yarn", "qwen2", "--opt tied,yarn --heads 6 --kv-heads 2 --head-dim 4"),
    arch("qwen3", "qwen3", shape=WIDER),
    arch("qwen3-tied-linear", "qwen3", "--opt tied,linear --heads 3 --kv-heads 1 --head-dim 16"),
    arch("qwen2moe", "qwen2moe", shape=SMALL_EXPERTS),
    arch("qwen3moe", "qwen3moe", shape=SMALL_EXPERTS),
    arch("qwen3next", "qwen3next", "--opt tied --set expert_feed_forward_length=8", shape=EXPERTS),
    arch("qwen35", "qwen35", "--opt tied"),
    arch("qwen35moe", "qwen35moe", "--opt tied --set expert_feed_forward_length=8", shape=EXPERTS),
    arch("gemma", "gemma", tolerance=GELU),
    arch("gemma2", "gemma2", tolerance=GELU),
    arch("gemma3", "gemma3", tolerance=GELU),
    arch("gemma4", "gemma4", tolerance=GELU4),
    arch("phi2", "phi2", tolerance=GELU),
    arch("phi3", "phi3"),
    arch("phi3-longrope", "phi3", "--opt longrope"),
    arch("phimoe", "phimoe", shape=EXPERTS),
    arch("mistral3", "mistral3", "--opt tied"),
    arch("starcoder2", "starcoder2", "--opt tied", tolerance=GELU),
    arch("glm4", "glm4"),
    arch("smollm3", "smollm3", "--opt tied"),
    arch("deepseek2", "deepseek2", "--set expert_feed_forward_length=16"),
    arch("deepseek2-lite", "deepseek2-lite", shape=SMALL_EXPERTS, gguf="deepseek2"),
    arch("gpt-oss", "gpt-oss", shape=SMALL_EXPERTS),
    arch("llama4", "llama4", "--opt tied --set expert_count=4 --set expert_feed_forward_length=32"),
    arch("granite", "granite", "--opt tied"),
    arch("granitemoe", "granitemoe", shape=EXPERTS),
    arch("command-r", "command-r"),
    arch("cohere2", "cohere2"),
    arch("olmo2", "olmo2"),
    arch("olmo2-window", "olmo2", "--opt window"),
    arch("exaone", "exaone"),
    arch("exaone4", "exaone4", "--opt tied"),
    arch("stablelm", "stablelm"),
    arch("stablelm-parallel", "stablelm", "--opt parallel,bias"),
    arch("bert", "bert", "--opt cls", tolerance=GELU),
    arch("xlm-r", "xlm-r", "--opt mean", tolerance=GELU, gguf="bert"),
    arch("nomic-bert", "nomic-bert", "--opt mean"),
    arch("qwen3-both-ways", "qwen3", "--set attention.causal=false --set pooling_type=1"),
    # make_golden.py turns the maker's gemma3 into it.
    arch("gemma-embedding", "gemma3", "--window 7 --set pooling_type=1", tolerance=GELU, gguf="gemma-embedding"),
]

# Rows of 256 elements, so that every matrix really has the type; of 64 and 96 where blocks have 32.
# Few heads for most: attn_output's rows of 64 then have a type of smaller blocks.
BLOCK_256 = "--arch llama --preset micro --opt tied --layers 1 --embd 256 --heads 2 --kv-heads 1 --head-dim 32 --ff 256 --vocab 290"
BLOCK_32 = "--arch llama --preset micro --embd 64 --head-dim 16 --ff 96"


def type_case(name, shape, options=""):
    return Case("type-" + name, "llama", "%s %s --type %s --seed 23" % (shape, options, name), name, F32)


TYPE_CASES = [type_case(t, "--arch llama " + WIDER) for t in ("f16", "bf16")]
TYPE_CASES += [type_case(t, BLOCK_32) for t in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4")]
TYPE_CASES += [type_case(t, BLOCK_256, "--heads 8") for t in ("q2_k", "q4_k")]
TYPE_CASES += [type_case(t, BLOCK_256) for t in
               ("q3_k", "q5_k", "q6_k", "iq4_xs", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq1_s", "iq1_m",
                "tq1_0", "tq2_0")]

CASES = ARCH_CASES + TYPE_CASES


def runs(case):
    return case.arch in ARCHITECTURES and case.type in TYPES
