#!/usr/bin/env python3
"""test_ctypes.py - the shared library from a language that knows nothing of it but the headers.
SPDX-License-Identifier: Apache-2.0

    test_ctypes.py LIBRARY MODEL

Loads the model, reads a stream to its end, and compares it with the same text through infer.
"""
import ctypes
import select
import sys
from ctypes import POINTER, byref, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("code", c_int), ("item", c_size_t), ("text", c_char * 512)]


class Sampler(ctypes.Structure):
    _fields_ = [("greedy", c_bool), ("temperature", c_float), ("top_k", c_int32), ("top_p", c_float),
                ("min_p", c_float), ("repeat_penalty", c_float), ("repeat_last_n", c_int32), ("seed", c_uint64),
                ("presence_penalty", c_float), ("frequency_penalty", c_float), ("typical_p", c_float),
                ("dry_multiplier", c_float), ("dry_base", c_float), ("dry_allowed_length", c_uint32),
                ("dry_last_n", c_int32), ("dry_breakers", c_void_p), ("n_dry_breakers", c_size_t),
                ("bias", c_void_p), ("n_bias", c_size_t), ("mirostat", c_bool), ("mirostat_tau", c_float),
                ("mirostat_eta", c_float)]


class Options(ctypes.Structure):
    _fields_ = [("sampler", Sampler), ("max_tokens", c_uint32), ("stop", POINTER(c_char_p)), ("n_stop", c_size_t),
                ("raw", c_bool), ("ignore_end", c_bool), ("context_shift", c_bool), ("n_keep", c_uint32),
                ("lookahead", c_int), ("on_text", c_void_p), ("on_text_user", c_void_p),
                ("tools_json", c_char_p), ("variables_json", c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [("content", c_char_p), ("content_bytes", c_size_t), ("finish_reason", c_int)] + [
        (name, c_uint32) for name in ("n_prompt", "n_cached", "n_completion", "n_guessed", "n_came", "n_dropped",
                                      "n_repeated", "n_ctx")] + [
        ("prompt_s", c_double), ("generation_s", c_double), ("seed", c_uint64)]


class Chunk(ctypes.Structure):
    _fields_ = [("text", c_void_p), ("n_bytes", c_size_t), ("is_end", c_bool)]


def main():
    lib = ctypes.CDLL(sys.argv[1])
    lib.spn_version.restype = lib.spn_status_name.restype = c_char_p
    for name in ("load", "unload", "infer", "infer_stream"):
        getattr(lib, "spn_runtime_" + name).restype = c_int
    err = Error()

    def must(status):
        if status != 0:
            sys.exit("%s: %s" % (lib.spn_status_name(status).decode(), err.text.decode()))

    runtime, stream, chunk, response, text = c_void_p(), c_void_p(), Chunk(), Response(), b""
    options = Options(sampler=Sampler(greedy=True), max_tokens=40)
    must(lib.spn_runtime_create(byref(runtime), byref(err)))
    if lib.spn_runtime_load(runtime, b"/nowhere.gguf", None, byref(err)) == 0 or b"/nowhere.gguf" not in err.text:
        sys.exit("a file that is not there: %r" % err.text)
    must(lib.spn_runtime_load(runtime, sys.argv[2].encode(), None, byref(err)))
    prompt = b"Once upon a time"
    must(lib.spn_runtime_infer_stream(runtime, prompt, byref(options), byref(stream), byref(err)))
    wait = lib.spn_stream_descriptor(stream)
    while not chunk.is_end:
        if not select.select([wait], [], [], 60)[0]:
            sys.exit("the descriptor does not become readable")
        must(lib.spn_stream_next(stream, 0, byref(chunk), byref(err)))
        text += ctypes.string_at(chunk.text, chunk.n_bytes)
    must(lib.spn_stream_response(stream, byref(response), byref(err)))
    if response.content != text or response.n_completion != 40 or response.finish_reason != 1:
        sys.exit("the stream gave %r, its response %r" % (text, response.content))
    lib.spn_chat_response_clear(byref(response))
    lib.spn_stream_free(stream)
    must(lib.spn_runtime_infer(runtime, prompt, byref(options), byref(response), byref(err)))
    if response.content != text or response.n_cached == 0 or response.n_ctx == 0:
        sys.exit("infer gave %r, the stream %r" % (response.content, text))
    lib.spn_chat_response_clear(byref(response))
    must(lib.spn_runtime_unload(runtime, byref(err)))
    lib.spn_runtime_free(runtime)
    print("spn-native %s through ctypes: %d bytes" % (lib.spn_version().decode(), len(text)))


main()
