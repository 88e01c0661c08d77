#!/usr/bin/env python3
"""Makes the small vocabularies of this folder, their texts and the ids that are expected.

    ORACLE=/path/to/orc NODE_TOKENIZERS=/path/to/node_modules ./make_vocabs.py

needs the Python package sentencepiece. The vocabularies are trained on the LICENSE file and the
texts below. The ids come from llama.cpp v0.5.0: $ORACLE MODEL reads records (u32 length, u32 flags:
1 add special tokens, 2 parse them; bytes) and prints a line of ids for each. It writes some
families of patterns otherwise than the models do; the ids for those (ORIGINAL below) come from
the JavaScript tokenizers of the npm package @lenml/tokenizers with the model's own pattern.

NAME.inp holds texts, each followed by a line "__ggml_vocab_test__"; line k of NAME.out the ids of
text k; NAME.special.out the same with special tokens added and parsed. words.gguf is opened once
with every name in words.pre.out, which holds a line "= NAME" and then a line of ids a text.
"""
import collections, json, os, random, re, struct, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = open(os.path.join(HERE, "../../../LICENSE"), encoding="utf-8").read()
SEPARATOR = "\n__ggml_vocab_test__\n"

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n \n\n  x", "Hello", " Hello", "Hello World", "  Hello  World  ",
    "Licensed under the Apache License, Version 2.0", "the Work's copyright; you'll, WE'VE, He'D 'Re'd",
    "don't DON'T I'm I'M we'll WE'LL", "3 33 333 3333 33333 1234567 3.14 100,000.50 \u0661\u0662\u0663 \uff11\uff12 \u00bd \u2167",
    "int main(void) {\n\treturn a->b != 0 && ~c; // x\n}\r\n", "fooBar FooBAR foo_bar HTTPServer xY",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u041c\u0418\u0420 \u041f\u0440\u0438\u0432\u0435\u0442\u041c\u0438\u0440", "\u4f60\u597d\u4e16\u754c \u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a \ud55c\uad6d\uc5b4",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947 \u0647\u0630\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\U0001f600 \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\U0001f1e9\U0001f1ea",
    "a\u00a0b\u3000c\u2003\u2003d \u2028e\u180ef", "!!! ??? ... --- *** ``` \"quoted\" (paren) [x] {y} <z> |~^$+=",
    "caf\u00e9 cafe\u0301 \u00dcber na\u00efve \u0130stanbul \ufb01ne \uff26\uff55\uff4c\uff4c", "x" * 40, " " * 40 + "y", "ab" * 30,
    "Work Work Work work's Works", "copyright\u2581owner", "end of text\n", "    indented\n        more\n",
    "\x00\x01\x7f", "a\u0300\u0301b", "\U00011f04\U00011f50\U0001e4d0", "A\u01c5b \u1c90\u10d0",
]
SPECIAL_TEXTS = [
    "<s>x</s>", "<tool>Work", "a <tool><tool> b", "<pad> <s> <<tool>>", "  <sep>  x  <sep>", "<sep><sep2><sep2x>",
    "text <unk> text", "\n\n\n<tool>\n", "<think>the Work</think>",
]
INVALID_TEXTS = [b"\x80", b"a\xffb", b"\xe2\x82", b"\xf0\x9f\x98", b"caf\xc3", b"\xc0\xafx\xed\xa0\x80y"]

# ---- GGUF ----

KINDS = {"u32": (4, "I"), "f32": (6, "f"), "bool": (7, "?")}


def gguf_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def write_gguf(name, pairs):
    """pairs: key -> str | (kind, value) | [str ...] | (kind, [value ...])"""
    out = [b"GGUF", struct.pack("<IQQ", 3, 0, len(pairs))]
    for key, value in pairs.items():
        out.append(gguf_string(key))
        if isinstance(value, str):
            out.append(struct.pack("<I", 8) + gguf_string(value))
        elif isinstance(value, list):
            out.append(struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(gguf_string, value)))
        elif value[0] == "bytes":
            out.append(struct.pack("<IIQ", 9, 0, len(value[1])) + value[1])
        elif isinstance(value[1], list):
            number, code = {"i32": (5, "i"), "f32": (6, "f")}[value[0]]
            out.append(struct.pack("<IIQ", 9, number, len(value[1])))
            out.append(struct.pack("<%d%s" % (len(value[1]), code), *value[1]))
        else:
            number, code = KINDS[value[0]]
            out.append(struct.pack("<I" + code, number, value[1]))
    with open(os.path.join(HERE, name + ".gguf"), "wb") as file:
        file.write(b"".join(out))


# ---- SentencePiece ----

def fields(data):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            size = varint()
            yield key >> 3, data[at:at + size]
            at += size
        else:
            yield key >> 3, struct.unpack_from("<f", data, at)[0]
            at += 4


def train(model_type, size, **options):
    import sentencepiece
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text")
        with open(text, "w", encoding="utf-8") as file:
            for _ in range(3):
                file.write(CORPUS + "\n".join(t.replace("\x00", "") for t in TEXTS))
        if "rules" in options:
            tsv = os.path.join(folder, "rules.tsv")
            with open(tsv, "w") as file:
                file.write(options.pop("rules"))
            options["normalization_rule_tsv"] = tsv
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(folder, "m"), model_type=model_type, vocab_size=size,
            minloglevel=2, num_threads=1, **options)
        model = open(os.path.join(folder, "m.model"), "rb").read()
    pieces, normalizer = [], {}
    for number, value in fields(model):
        if number == 1:
            piece = {2: 0.0, 3: 1, **dict(fields(value))}
            pieces.append((piece[1].decode(), piece[2], piece[3]))
        elif number == 3:
            normalizer = dict(fields(value))
    return pieces, normalizer


def spm_pairs(model, pieces, normalizer):
    names = [piece[0] for piece in pieces]
    pairs = {
        "general.architecture": "llama", "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": names, "tokenizer.ggml.scores": ("f32", [p[1] for p in pieces]),
        "tokenizer.ggml.token_type": ("i32", [p[2] for p in pieces]),
        "tokenizer.ggml.add_space_prefix": ("bool", bool(normalizer.get(3, 1))),
        "tokenizer.ggml.remove_extra_whitespaces": ("bool", bool(normalizer.get(4, 1))),
    }
    for key, text in (("bos", "<s>"), ("eos", "</s>"), ("unknown", "<unk>"), ("padding", "<pad>")):
        if text in names:
            pairs["tokenizer.ggml.%s_token_id" % key] = ("u32", names.index(text))
    if normalizer.get(2):
        pairs["tokenizer.ggml.precompiled_charsmap"] = ("bytes", normalizer[2])
    return pairs


def make_spm():
    pieces, normalizer = train("bpe", 900, byte_fallback=True, normalization_rule_name="identity",
                               remove_extra_whitespaces=False, character_coverage=0.999,
                               user_defined_symbols=["<tool>", "<sep>", "<sep2>", "<sep2x>", "\n\n"],
                               control_symbols=["<pad>"])
    write_gguf("spm", spm_pairs("llama", pieces, normalizer))
    return pieces


def make_ugm():
    rules = "".join("%X\t%s\n" % (ord(a), " ".join("%X" % ord(c) for c in b)) for a, b in [
        ("\u00e9", "e"), ("\ufb01", "fi"), ("\u00a0", " "), ("\u3000", " "), ("\t", " "), ("\n", " "),
        ("\uff26", "F"), ("\u2167", "VIII"), ("\u00bd", "1/2"), ("\x7f", "")])
    rules += "65 301\t65\n"
    pieces, normalizer = train("unigram", 700, rules=rules, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                               character_coverage=0.995, user_defined_symbols=["<tool>", "<sep>"])
    write_gguf("ugm", spm_pairs("t5", pieces, normalizer))


def make_raw(pieces):
    """gemma4: the pieces of spm with the merges that make them, in the order of their scores."""
    names = [p[0] for p in pieces]
    known = {p[0] for p in pieces if p[2] == 1}
    merges = []
    for name, _, kind in pieces:
        for cut in range(1, len(name) if kind == 1 else 0):
            if name[:cut] in known and name[cut:] in known:
                merges.append(name[:cut] + " " + name[cut:])
    pairs = spm_pairs("gemma4", pieces, {})
    del pairs["tokenizer.ggml.scores"]
    pairs["tokenizer.ggml.merges"] = merges
    write_gguf("raw", pairs)


# ---- byte-level ----

def byte_alphabet():
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


ALPHABET = byte_alphabet()


def byte_level_pairs(tokens, merges, special, pre):
    types = [1] * len(tokens) + [kind for _, kind in special]
    tokens = tokens + [text for text, _ in special]
    return {
        "general.architecture": "llama", "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": ("i32", types),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": ("u32", tokens.index("<s>")),
        "tokenizer.ggml.eos_token_id": ("u32", tokens.index("</s>")),
        "tokenizer.ggml.pre": pre, # the last pair: the test writes other names here
    }


SPECIAL = [("<s>", 3), ("</s>", 3), ("<pad>", 3), ("<tool>", 4), ("<sep>", 4), ("<sep2>", 4), ("<sep2x>", 4),
           ("<think>", 4), ("</think>", 4)]


def make_bpe():
    words = collections.Counter(re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+", CORPUS))
    for text in TEXTS:
        words.update(re.findall(r" ?\w+| ?[^\s\w]+|\s+", text))
    words = [([ALPHABET[b] for b in w.encode()], n) for w, n in sorted(words.items())]
    tokens, merges = [ALPHABET[b] for b in range(256)], []
    while len(merges) < 700:
        count = collections.Counter()
        for word, n in words:
            for pair in zip(word, word[1:]):
                count[pair] += n
        left, right = min(count, key=lambda pair: (-count[pair], pair))
        merges.append(left + " " + right)
        if left + right not in tokens:
            tokens.append(left + right)
        for word, _ in words:
            i = 0
            while i + 1 < len(word):
                if word[i] == left and word[i + 1] == right:
                    word[i:i + 2] = [left + right]
                i += 1
    write_gguf("bpe", byte_level_pairs(tokens, merges, SPECIAL, "qwen2"))


def make_words():
    """Any two bytes that stand together in the texts merge, so that ids show where words end."""
    pairs = sorted({pair for text in TEXTS for pair in zip(text.encode(), text.encode()[1:])})
    random.Random(7).shuffle(pairs)
    tokens = [ALPHABET[b] for b in range(256)] + [ALPHABET[a] + ALPHABET[b] for a, b in pairs]
    merges = [ALPHABET[a] + " " + ALPHABET[b] for a, b in pairs]
    everything = byte_level_pairs(tokens, merges, SPECIAL[:2], "gpt-2")
    write_gguf("words", everything)
    return everything, tokens, merges


def make_wpm():
    lower = CORPUS.lower()
    words = collections.Counter(re.findall("[a-z]+", lower)).most_common(250)
    ends = collections.Counter(w[-n:] for w, c in words for n in (2, 3) if len(w) > n for _ in range(c))
    letters = sorted({c for t in TEXTS + [lower] for c in t.lower() if c.isprintable() and c != " "})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += ["\u2581" + c for c in letters if ord(c) < 0x2000] + [c for c in letters if c.isalnum()][:200]
    tokens += ["\u2581" + w for w, _ in words if len(w) > 1] + [e for e, _ in ends.most_common(100)]
    tokens = list(dict.fromkeys(tokens))
    write_gguf("wpm", {
        "general.architecture": "bert", "tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": ("i32", [3] * 5 + [1] * (len(tokens) - 5)),
        "tokenizer.ggml.unknown_token_id": ("u32", 1), "tokenizer.ggml.cls_token_id": ("u32", 2),
        "tokenizer.ggml.bos_token_id": ("u32", 2), "tokenizer.ggml.seperator_token_id": ("u32", 3),
        "tokenizer.ggml.padding_token_id": ("u32", 0), "tokenizer.ggml.mask_token_id": ("u32", 4)})


# ---- expected ids ----

def expected(path, texts, flags):
    records = b"".join(struct.pack("<II", len(t), flags) + t for t in texts)
    run = subprocess.run([os.environ["ORACLE"], path], input=records, capture_output=True, check=True)
    lines = run.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(texts)
    return lines


def write_lines(name, lines):
    with open(os.path.join(HERE, name), "w") as file:
        file.write("".join(line + "\n" for line in lines))


def write_cases(name, texts):
    path = os.path.join(HERE, name + ".gguf")
    texts = [t if isinstance(t, bytes) else t.encode() for t in texts]
    with open(os.path.join(HERE, name + ".inp"), "wb") as file:
        file.write(b"".join(t + SEPARATOR.encode() for t in texts))
    write_lines(name + ".out", expected(path, texts, 0))
    write_lines(name + ".special.out", expected(path, texts, 3))


# One name of each family of patterns.
NAMES = ["default", "llama-bpe", "qwen2", "qwen35", "deepseek-v3",
         "falcon", "starcoder", "gpt-2", "bloom", "viking", "jais-2", "chameleon", "superbpe", "bailingmoe",
         "seed-coder", "ufakzeka", "laguna", "exaone-moe", "minicpm5", "spark2_5", "glm4", "command-r"]
CASED = ("[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+%s|"
         "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*%s|")
SHORT = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
TAIL = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
SPACES = "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
HAN = "(?:(?!\\p{sc=Han})"
DEEPSEEK3 = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
             "| ?[\\p{P}\\p{S}]+[\r\n]*" + SPACES)
# DeepSeek-LLM lists the letters that have case, as code points.
LETTERS = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A
38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF
1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D
1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4
1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F
2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F
A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"""
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
ORIGINAL = {
    "tekken": [CASED % ("", "") + "\\p{N}" + TAIL],
    "gpt-4o": [CASED % (SHORT, SHORT) + "\\p{N}{1,3}" + TAIL],
    "deepseek-llm": [
        "[\\r\\n]", "\\s?[%s]+" % re.sub("([0-9A-F]+)", r"\\u{\1}", LETTERS).replace(" ", "").replace("\n", ""),
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", "\\s+$", CJK, "\\p{N}+"],
    "kimi-k2": [
        "\\p{sc=Han}+|" + (CASED % (SHORT, SHORT)).replace("[\\p{Lu}", HAN + "[\\p{Lu}").replace("[\\p{Ll}", HAN + "[\\p{Ll}")
        .replace("]*", "])*").replace("\\p{M}]+", "\\p{M}])+") + "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" + SPACES],
    "tiny_aya": ["\\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*(?![\\p{L}\\p{M}\\p{N}\\p{Pc}]))",
                 CASED % (SHORT, SHORT) + "\\p{N}{1,3}" + TAIL],
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
              "|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", CASED % (SHORT, SHORT) + "\\p{N}" + TAIL],
    "afmoe": ["\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))",
              "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
              "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
              DEEPSEEK3],
    "deepseek-coder": ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"],
}


def from_original(patterns, tokens, merges, texts):
    model = {"version": "1.0", "added_tokens": [], "normalizer": None,
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                 *({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
                   for pattern in patterns),
                 {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
             "post_processor": None, "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}
    script = ("const {TokenizerLoader} = await import(process.env.NODE_TOKENIZERS + "
              "'/@lenml/tokenizers/dist/main.mjs'); const {readFileSync} = await import('fs');"
              "const {model, texts} = JSON.parse(readFileSync(0, 'utf8'));"
              "const t = TokenizerLoader.fromPreTrained({tokenizerJSON: model, tokenizerConfig: {"
              "tokenizer_class: 'GPT2Tokenizer', clean_up_tokenization_spaces: false}});"
              "for (const x of texts) console.log(t.encode(x, {add_special_tokens: false}).join(' '));")
    run = subprocess.run(["node", "--input-type=module", "-e", script], check=True, capture_output=True,
                         input=json.dumps({"model": model, "texts": texts}).encode())
    return run.stdout.decode().split("\n")[:-1]


def main():
    pieces = make_spm()
    make_raw(pieces)
    make_ugm()
    make_bpe()
    make_wpm()
    everything, tokens, merges = make_words()
    write_cases("spm", TEXTS + SPECIAL_TEXTS + INVALID_TEXTS)
    # Bytes that are not UTF-8 stay as they are here; the reference writes U+FFFD for them.
    write_cases("bpe", TEXTS + SPECIAL_TEXTS)
    write_cases("raw", TEXTS + SPECIAL_TEXTS)
    write_cases("ugm", TEXTS + SPECIAL_TEXTS + INVALID_TEXTS)
    # The reference keeps only the first part of a decomposed character and drops all marks.
    write_cases("wpm", [t for t in TEXTS if "\ud55c" not in t and "\u0928" not in t] + ["[CLS] x [MASK]"])
    write_cases("words", TEXTS)
    lines = []
    for name in NAMES:
        everything["tokenizer.ggml.pre"] = name
        write_gguf("words", everything)
        lines += ["= " + name] + expected(os.path.join(HERE, "words.gguf"), [t.encode() for t in TEXTS], 0)
    for name, patterns in ORIGINAL.items():
        lines += ["= " + name] + from_original(patterns, tokens, merges, TEXTS)
    everything["tokenizer.ggml.pre"] = "gpt-2"
    write_gguf("words", everything)
    write_lines("words.pre.out", lines)


if __name__ == "__main__":
    main()
