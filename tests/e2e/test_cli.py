#!/usr/bin/env python3
"""test_cli.py - the command, driven from outside. SPDX-License-Identifier: Apache-2.0

    test_cli.py COMMAND SOURCE [NAME...]

Every function named test_... is a test; each gets the command `spn` and raises when something is wrong.
"""
import array
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

COMMAND, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
STORIES = os.path.join(SOURCE, "tests", "golden", "stories260K.gguf")
GOLDEN = os.path.join(SOURCE, "tests", "golden", "arch-llama.gguf")
COMMANDS = ("run", "tokenize", "logits", "inspect", "bench", "detect-ram")


class Output:
    def __init__(self, done):
        self.code, self.raw = done.returncode, done.stdout
        self.out, self.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def spn(*args, stdin=b"", **options):
    return Output(subprocess.run([COMMAND, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 timeout=120, **options))


def equal(got, want, what="output"):
    if got != want:
        raise AssertionError("%s is %r, not %r" % (what, got, want))


def true(value, what):
    if not value:
        raise AssertionError(what)


def fails(done, code, *words):
    """Nothing on standard output, one `spn-native: ...` sentence with these words on standard error."""
    equal(done.code, code, "exit code (stderr %r)" % done.err)
    equal(done.out, "", "standard output")
    true(done.err.startswith("spn-native: "), "standard error begins %r" % done.err[:40])
    for word in words:
        true(word in done.err, "%r does not say %r" % (done.err, word))


def greedy(*args, **options):
    return spn("run", STORIES, *args, "--raw", "--temp", "0", **options)


# ---- help, versions, usage

def test_help_of_everything():
    for args in (["--help"], ["help"]) + tuple([c, "--help"] for c in COMMANDS):
        done = spn(*args)
        equal((done.code, done.err), (0, ""), "code and stderr of %s" % args)
        true(done.out.startswith("Usage: spn-native"), "no usage line in %s" % args)
    for name in COMMANDS:
        true("  " + name in spn("--help").out, "--help does not name " + name)


def test_version():
    done = spn("--version")
    equal((done.code, done.err), (0, ""))
    true(done.out.startswith("spn-native 0."), done.out)


def test_bad_usage_is_2():
    fails(spn("rnu"), 2, "run")
    fails(spn("run"), 2)
    fails(spn("run", STORIES, "--tmep", "0"), 2, "--temp")
    fails(spn("run", STORIES, "x", "-n", "many"), 2, "many")
    fails(spn("logits", GOLDEN), 2, "--tokens")
    fails(spn("logits", GOLDEN, "--tokens", "1,,2"), 2)
    fails(spn("run", STORIES, "x", "--cpu", "abacus"), 2, "abacus")
    equal(spn().code, 2, "exit code without arguments")


# ---- what a model says

def test_greedy_story():
    with open(os.path.join(SOURCE, "tests", "golden", "stories260K.txt"), encoding="utf-8") as f:
        want = f.read().rstrip("\n")
    done = greedy("", "-n", "198")
    equal(done.code, 0, "exit code (%s)" % done.err)
    equal(done.out.rstrip("\n"), want)


def test_same_story_at_every_level_and_thread_count():
    want = greedy("", "-n", "60").out
    for level in json.loads(spn("detect-ram", "--json").out)["cpu_levels"]:
        equal(greedy("", "-n", "60", "--cpu", level).out, want, level)
    for threads in ("1", "2", "5"):
        equal(greedy("", "-n", "60", "--threads", threads).out, want, threads + " threads")


def test_seed_repeats_a_draw():
    def draw(seed):
        return spn("run", STORIES, "Lily", "-n", "40", "--raw", "--temp", "1", "--seed", seed).out
    equal(draw("7"), draw("7"), "a second draw with the same seed")
    true(draw("7") != draw("8"), "seeds 7 and 8 give the same text")


def test_statistics_are_on_standard_error():
    done = greedy("One day", "-n", "8")
    true("tok" in done.err and "/s" in done.err, "no speed on standard error: %r" % done.err)
    true("tok" not in done.out, done.out)


def test_prompt_from_a_pipe():
    want = greedy("One day", "-n", "12").out
    equal(greedy("-", "-n", "12", stdin=b"One day").out, want, "with -")
    equal(greedy("-n", "12", stdin=b"One day").out, want, "without a prompt")


def test_stop_text_is_not_printed():
    whole = greedy("", "-n", "60").out
    done = greedy("", "-n", "60", "--stop", "named L", "--stop", "nothing like this")
    equal(done.out.rstrip("\n"), whole[:whole.index("named L")], "text before the stop")
    equal(greedy("", "-n", "60", "--stop", whole[:4]).out.rstrip("\n"), "", "text before a stop at the start")


def test_tokens_are_limited():
    fails(greedy("word " * 600, "-n", "4", "--ctx", "64"), 1, "64")
    done = greedy("", "-n", "500", "--ctx", "32")
    equal(done.code, 0, "exit code at the end of the context")


def test_demo_model_is_found_from_anywhere():
    done = spn("run", "demo", "Once upon a time", "-n", "8", "--temp", "0", cwd="/")
    equal(done.code, 0, "exit code (%s)" % done.err)
    true(len(done.out) > 15, done.out)


def test_ctrl_c_keeps_what_came():
    child = subprocess.Popen([COMMAND, "run", STORIES, "", "--raw", "--temp", "1", "-n", "100000", "--ctx", "100000"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(child.stdout.fileno(), 1)
    true(first, "no output")
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    equal(child.returncode in (0, 130), True, "clean end (code %d, %r)" % (child.returncode, err))
    true(time.monotonic() - began < 30, "it took %.1f s to stop" % (time.monotonic() - began))
    (first + out).decode("utf-8")
    true(b"/s" in err, "no statistics after Ctrl-C: %r" % err)


def test_closed_pipe_is_a_failure_not_a_crash():
    child = subprocess.Popen([COMMAND, "run", STORIES, "", "--raw", "-n", "400"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    child.stderr.read()
    true(child.wait(timeout=60) in (0, 1, -signal.SIGPIPE, 141), "exit code %d" % child.returncode)


# ---- the other commands

def test_tokenize_and_back():
    for text in ("Once upon a time, Lily said: \u00e9\u4e2d\U0001f600\n", "a  b\tc", "\n\n x"):
        for model in (STORIES, "demo", GOLDEN):
            ids = spn("tokenize", model, stdin=text.encode())
            equal((ids.code, ids.err), (0, ""), "code and stderr")
            equal(ids.out.count("\n"), 1, "lines of ids")
            true(all(word.isdigit() for word in ids.out.split()), ids.out)
            back = spn("tokenize", model, "--decode", stdin=ids.out.encode())
            true(back.out.rstrip("\n").strip(" ") == text.rstrip("\n").strip(" "), "%r came back as %r" % (text, back.out))


def test_logits_are_rows_of_floats():
    done = spn("logits", GOLDEN, "--tokens", "5,18,31", "--kv", "f32")
    equal((done.code, done.err), (0, ""), "code and stderr")
    row = len(array.array("f", done.raw)) / 3
    equal(row, 300.0, "numbers a row")
    values = spn("logits", GOLDEN, "--tokens", "5,18,31", "--kv", "f32", "--kv-v", "bf16")
    both = spn("logits", GOLDEN, "--tokens", "5,18,31", "--kv", "bf16")
    equal(len({done.raw, values.raw, both.raw}), 3, "each of the caches rounds otherwise")
    fails(spn("logits", GOLDEN, "--tokens", "5,300"), 2, "300")


def test_inspect():
    done = spn("inspect", GOLDEN)
    equal((done.code, done.err), (0, ""))
    for word in ("llama", "token_embd.weight", "general.architecture"):
        true(word in done.out, "inspect does not show " + word)
    info = json.loads(spn("inspect", GOLDEN, "--json").out)
    true(isinstance(info, dict) and len(info) > 3, info)


def test_memory_is_told_before_loading():
    need = json.loads(spn("inspect", STORIES, "--json", "--ctx", "256", "--kv", "f32").out)["memory"]
    parts = [need[k] for k in ("weights_bytes", "kv_bytes", "scratch_bytes", "process_bytes")]
    equal(need["total_bytes"], sum(parts), "the sum")
    mixed = json.loads(spn("inspect", STORIES, "--json", "--ctx", "256", "--kv", "f32", "--kv-v", "f16").out)["memory"]
    equal(mixed["kv_bytes"], need["kv_bytes"] * 3 // 4, "keys of 4 bytes, values of 2")
    done = spn("run", STORIES, "x", "-n", "1", "--ctx", "256", "--kv", "f32", "--stats", "json")
    stats = json.loads(done.err)
    for mine, its in (("weights_bytes",) * 2, ("kv_bytes",) * 2, ("scratch_bytes",) * 2):
        equal(stats[mine], need[its], mine)
    done = spn("run", STORIES, "x", "-n", "1", "--ctx", "256", "-v")
    true(re.match(r"memory [0-9.]+ MiB of [0-9.]+ [GM]iB available: weights 1.0 MiB", done.err), done.err)
    ctx = str(need["available_bytes"] // (need["kv_bytes"] // 256) * 2)
    fails(spn("run", STORIES, "x", "-n", "1", "--ctx", ctx, "--kv", "f32"), 1, "are available")


def test_locked_models_and_the_limit():
    ask = ["run", STORIES, "x", "-n", "3", "--temp", "0", "--stats", "json"]
    plain, locked = spn(*ask), spn(*ask, "--mlock")
    size = os.path.getsize(STORIES)
    if locked.code == 0:
        equal(locked.out, plain.out, "the text")
        equal(json.loads(locked.err)["weights_bytes"], size, "the whole file counts")

    with open(COMMAND, "rb") as file:
        if not sys.platform.startswith("linux") or b"__asan_init" in file.read():
            return  # the address sanitizer locks nothing

    def little_may_be_locked():
        import resource
        CAPBSET_DROP, IPC_LOCK = 24, 14
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        ctypes.CDLL(None).prctl(CAPBSET_DROP, IPC_LOCK, 0, 0, 0)  # root may lock without limit

    for command in (ask, ["bench", STORIES, "-p", "8", "-n", "1", "-r", "1"]):
        done = spn(*command, "--mlock", preexec_fn=little_may_be_locked)
        fails(done, 1, "%s: cannot lock %d bytes" % (STORIES, size), "may lock 65536", "ulimit -l")
        true("--ctx" not in done.err, done.err)


def test_full_contexts_and_loops_are_told():
    args = ["run", STORIES, "x", "--ctx", "64", "--temp", "0", "--ignore-end", "--stats", "json"]
    stats = json.loads(spn(*args, "-n", "500").err)
    equal((stats["finish_reason"], stats["context_used"], stats["dropped_tokens"]), ("length", 64, 0), "full")
    stats = json.loads(spn(*args, "-n", "500", "--context-shift", "--shift-keep", "8").err)
    equal(stats["completion_tokens"], 500, "tokens")
    true(0 < stats["context_used"] <= 64 and stats["dropped_tokens"] > 400, stats)
    fails(spn(*args, "--context-shift", "--shift-keep", "33"), 2, "at most half")
    done = spn("run", STORIES, "x", "--ctx", "2048", "--temp", "0", "--logit-bias", "300=1000000")
    true("only repeats itself: its last 512 tokens" in done.err, done.err)


def test_bench_json():
    done = spn("bench", STORIES, "-p", "32", "-n", "8", "-t", "1", "--json")
    equal(done.code, 0, "exit code (%s)" % done.err)
    info = json.loads(done.out)
    for key in ("prompt_tok_s", "gen_tok_s", "load_s", "weight_bytes_per_token"):
        true(info[key] > 0, "%s is %r" % (key, info[key]))
    # 5 layers, 4 heads of 8 numbers for K and V, f16; tokens 2 to 9 see 5 before them on average.
    equal(info["kv_bytes_per_token"], 5 * 5 * 4 * (8 + 8) * 2, "what a token reads of the cache")
    short = ["bench", STORIES, "-t", "1", "-r", "1", "--json"]
    info = json.loads(spn(*short, "-p", "32", "-n", "0", "-d", "64").out)
    true(info["prompt_tok_s"] > 0 and "gen_tok_s" not in info, info)
    info = json.loads(spn(*short, "-p", "0", "-n", "8", "-d", "64").out)
    true(info["gen_tok_s"] > 0 and "prompt_tok_s" not in info, info)
    equal(info["kv_bytes_per_token"], (64 + 5) * 5 * 4 * (8 + 8) * 2, "behind 64 tokens")
    shown = spn("bench", STORIES, "-p", "32", "-n", "8", "-d", "64", "-r", "1").out
    equal(shown.count("behind 64"), 2, shown)
    fails(spn("bench", STORIES, "-p", "0", "-n", "0"), 2, "at least 1")


def test_detect_ram():
    info = json.loads(spn("detect-ram", "--json").out)
    true(0 < info["available_bytes"] <= info["total_bytes"], info)
    equal(spn("detect-ram").code, 0, "exit code")


# ---- what is not right

def test_missing_and_damaged_files():
    with open(GOLDEN, "rb") as f:
        good = f.read()
    damaged = {
        "empty": b"", "text": b"hello, this is no model\n", "magic": b"GGML" + good[4:],
        "version": good[:4] + b"\x63\0\0\0" + good[8:], "head": good[:20], "metadata": good[:400],
        "weights": good[:-1000], "counts": good[:8] + b"\xff" * 16 + good[24:],
        "string": good[:24] + b"\xff" * 8 + good[32:],
    }
    with tempfile.TemporaryDirectory() as folder:
        fails(spn("run", os.path.join(folder, "no.gguf"), "x"), 1, "no.gguf")
        fails(spn("run", folder, "x"), 1)
        for name, content in damaged.items():
            path = os.path.join(folder, name + ".gguf")
            with open(path, "wb") as f:
                f.write(content)
            for args in (["run", path, "x"], ["logits", path, "--tokens", "1"]):
                fails(spn(*args), 1)
        fails(spn("inspect", os.path.join(folder, "magic.gguf")), 1)


def test_unknown_architecture_is_named():
    with open(GOLDEN, "rb") as f:
        data = f.read().replace(b"llama", b"lluma")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lluma.gguf")
        with open(path, "wb") as f:
            f.write(data)
        fails(spn("run", path, "x"), 1, "lluma")


def main():
    tests = {name: f for name, f in globals().items() if name.startswith("test_")}
    names = sys.argv[3:] or list(tests)
    failed = 0
    for name in names:
        try:
            tests[name]()
        except Exception as e:  # whatever it is, the next test runs
            failed += 1
            print("%s FAILED: %s: %s" % (name, type(e).__name__, e))
    print("%d passed, %d failed" % (len(names) - failed, failed))
    return failed > 0


sys.exit(main())
