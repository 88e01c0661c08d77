#!/usr/bin/env python3
"""test_chat.py - the conversation at a terminal and from a pipe; sessions; shapes of other commands.
SPDX-License-Identifier: Apache-2.0

    test_chat.py SPN_NATIVE SOURCE_ROOT
"""
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time

SPN, SOURCE = os.path.abspath(sys.argv[1]), sys.argv[2]
STORIES = os.path.join(SOURCE, "tests", "golden", "stories260K.gguf")
BERT = os.path.join(SOURCE, "tests", "golden", "arch-bert.gguf")
TEMPLATE = "{{bos_token}}{% for m in messages %}{{m.content}} {% endfor %}"
TEMP = tempfile.mkdtemp()
ENV = dict(os.environ, HOME=TEMP, TERM="xterm", SPN_MODELS_DIR=os.path.join(TEMP, "store"))


def path(name, text=None):
    where = os.path.join(TEMP, name)
    if text is not None:
        with open(where, "w", encoding="utf-8") as f:
            f.write(text)
    return where


def spn(*arguments, text=""):
    done = subprocess.run([SPN, *arguments], input=text.encode(), env=ENV, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def chat(*lines, options=()):
    return spn("chat", STORIES, "--template", path("t.jinja", TEMPLATE), "--temp", "0", "-n", "12", *options,
               text="".join(line + "\n" for line in lines))


# ---- from a pipe

def test_answers_and_regen_are_the_same():
    code, out, err = chat("Once upon a time", "/regen")
    answers = out.splitlines()
    assert code == 0, err
    assert len(answers) == 2 and answers[0] == answers[1] and answers[0], out
    assert "context" in err


def test_a_message_of_several_lines():
    code, out, _ = chat("Once \\", "upon", "/save " + path("talk.json"))
    assert code == 0
    with open(path("talk.json"), encoding="utf-8") as f:
        talk = json.load(f)
    assert [m["role"] for m in talk] == ["user", "assistant"]
    assert talk[0]["content"] == "Once \nupon"
    code, out, _ = chat('"""a', "b", 'c"""', "/save " + path("talk.json"))
    with open(path("talk.json"), encoding="utf-8") as f:
        assert json.load(f)[0]["content"] == "a\nb\nc"


def test_saved_conversations_go_on_without_reading_again():
    chat("/system Be brief.", "Once upon a time", "/save " + path("talk.json"))
    code, out, err = chat("/load " + path("talk.json"), "/system", "And then", "/stats")
    assert code == 0 and "Loaded 3 messages" in out and "Be brief." in out, out
    cached = int(out.split(" of them cached")[0].split(", ")[-1])
    assert cached > 10, out
    os.remove(path("talk.json.cache"))
    _, out, err = chat("/load " + path("talk.json"))
    assert "Loaded 3 messages" in out and "read again" in err


def test_clear_keeps_the_system_message():
    chat("/system Be brief.", "x", "/clear", "/save " + path("talk.json"))
    # Nothing of the conversation is left but the system message.
    with open(path("talk.json"), encoding="utf-8") as f:
        assert [m["role"] for m in json.load(f)] == ["system"]


def test_mistakes_are_told_and_end_nothing():
    code, out, err = chat("/stts", "/set temp hot", "/set tmp 1", "/load /nowhere", "/regen", "Once")
    assert code == 0
    for words in ("did you mean /stats", "hot", "tmp", "/nowhere"):
        assert words in err, err
    assert out.splitlines()[-1] != ""


def test_what_does_not_fit_leaves_the_conversation():
    long_text = "word " * 600
    code, out, err = chat(long_text, "Once", "/save " + path("talk.json"))
    assert code == 0 and "512" in err
    with open(path("talk.json"), encoding="utf-8") as f:
        assert json.load(f)[0]["content"] == "Once"


def test_a_model_without_template_is_refused():
    code, _, err = spn("chat", STORIES)
    assert code == 1 and "no chat template" in err and "run" in err


# ---- at a terminal

class Terminal:
    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(SPN, [SPN, *arguments], ENV)
        self.seen = b""

    def wait_for(self, text, seconds=60):
        """What came up to and with `text`."""
        end = time.time() + seconds
        while text not in self.seen and time.time() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    break
        before, found, rest = self.seen.partition(text)
        assert found, before
        self.seen = rest
        return before + found

    def type(self, text):
        os.write(self.fd, text)

    def interrupt_line(self):
        """Ctrl-C until there is a fresh prompt: a first one may come before the editor has the terminal."""
        for _ in range(20):
            self.type(b"\x03")
            try:
                self.wait_for(b">>> ", 2)
                return
            except AssertionError:
                pass
        raise AssertionError("no prompt after Ctrl-C")

    def end(self):
        """Ctrl-D until the program ends. One that comes before the editor has the terminal is lost, or
        stands in the line as a character: Ctrl-U takes it away."""
        for _ in range(20):
            try:
                self.type(b"\x15\x04")
                while select.select([self.fd], [], [], 1)[0]:
                    if not os.read(self.fd, 4096):
                        break
            except OSError:  # the terminal is gone with the program
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("Ctrl-D did not end the program")


def test_ctrl_c_stops_the_answer_and_not_the_program():
    t = Terminal("chat", STORIES, "--template", path("t.jinja", TEMPLATE), "--temp", "0", "--lookahead", "off")
    t.wait_for(b">>> ")
    t.type(b"half a line")
    t.wait_for(b"half a line")
    t.interrupt_line()
    t.type(b"Once upon a time\n")
    t.wait_for(b", there")
    t.type(b"\x03")
    got = t.wait_for(b">>> ")
    assert b"stopped" in got or b"of 512" in got, got
    t.type(b"/save " + path("talk.json").encode() + b"\n")
    t.wait_for(b"Saved 2 messages")
    t.wait_for(b">>> ")
    with open(path("talk.json"), encoding="utf-8") as f:
        assert ", there" in json.load(f)[1]["content"]
    t.type(b"/help\n")
    t.wait_for(b"/regen")
    t.wait_for(b">>> ")
    assert t.end() == 0


def test_ctrl_c_before_the_answer_takes_the_question_back():
    kept = [{"role": "user", "content": "word " * 20000}, {"role": "assistant", "content": "Yes."}]
    t = Terminal("chat", STORIES, "--template", path("t.jinja", TEMPLATE), "--temp", "0", "--ctx", "65536", "-t", "1")
    t.wait_for(b">>> ")
    t.type(b"/load " + path("long.json", json.dumps(kept)).encode() + b"\n")
    t.wait_for(b"read again")
    t.wait_for(b">>> ")
    for line, told in ((b"Once\n", b"the question is taken back"), (b"/regen\n", b"the old answer stays")):
        t.type(line)
        t.wait_for(b"reading the prompt")
        t.type(b"\x03")
        t.wait_for(told)
        t.wait_for(b">>> ")
        t.type(b"/save " + path("talk.json").encode() + b"\n")
        t.wait_for(b"Saved 2 messages")
        with open(path("talk.json"), encoding="utf-8") as f:
            assert json.load(f) == kept, line
        t.wait_for(b">>> ")
    assert t.end() == 0


def test_regen_that_fails_keeps_the_old_answer():
    kept = [{"role": "user", "content": "word " * 600}, {"role": "assistant", "content": "Yes."}]
    code, _, err = chat("/load " + path("long.json", json.dumps(kept)), "/regen", "/save " + path("talk.json"))
    assert code == 0 and "512" in err, err
    with open(path("talk.json"), encoding="utf-8") as f:
        assert json.load(f) == kept


def test_interrupted_run_keeps_what_came():
    run = subprocess.Popen([SPN, "run", STORIES, "Once upon", "--temp", "0", "--ignore-end", "--lookahead", "off"],
                           env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(run.stdout.fileno(), 2)  # unbuffered: communicate() would not see what read() kept back
    run.send_signal(signal.SIGINT)
    rest, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    came = first + rest
    whole = b" a time, there was a little girl"
    assert came.startswith(whole) or whole.startswith(came), came
    assert b"end: cancelled" in err or b"end: length" in err, err


# ---- other commands

def test_sessions_of_run():
    where = path("run.session")
    stats = []
    for prompt in ("Once upon a time, there was a little girl", "Once upon a time, there was a little girl named"):
        code, _, err = spn("run", STORIES, prompt, "--temp", "0", "-n", "4", "--session", where, "--stats", "json")
        assert code == 0, err
        stats.append(json.loads(err))
    assert stats[0]["cached_tokens"] == 0
    assert stats[1]["cached_tokens"] >= stats[0]["prompt_tokens"] - 1
    path("run.session", "no session")
    code, _, err = spn("run", STORIES, "Once", "--session", where)
    assert code == 1 and "session" in err


def test_embeddings_are_json_lines():
    code, out, err = spn("embed", STORIES, "A cat.", "A dog.")
    assert code == 0, err
    vectors = [json.loads(line) for line in out.splitlines()]
    assert len(vectors) == 2 and len(vectors[0]) == 64
    assert all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in vectors)
    code, piped, _ = spn("embed", STORIES, text="A cat.\nA dog.\n")
    assert piped == out
    code, piped, _ = spn("embed", STORIES, "-", text="A cat.\r\nA dog.")
    assert piped == out
    code, out, _ = spn("embed", BERT, "--tokens", "1,2,3", "--no-normalize", "--pooling", "mean")
    assert code == 0 and len(json.loads(out)) > 8
    code, both, _ = spn("embed", BERT, "--tokens", "5,6", "--tokens", "1,2,3", "--no-normalize", "--pooling", "mean")
    assert code == 0 and both.splitlines()[1] == out.strip()
    code, _, err = spn("embed", BERT, "--tokens", "5,6", "--tokens", "1,999999")
    assert code == 2 and "text 2: " in err and "999999" in err, err
    code, _, err = spn("embed", BERT, "--tokens", "1,2,3", "A cat.")
    assert code == 2 and "not both" in err


def test_many_lines_are_embedded_in_pieces():
    lines = ["%s %d" % ("the cat " * (i % 9), i) for i in range(1200)]
    code, out, err = spn("embed", STORIES, text="\n".join(lines))
    assert code == 0, err
    vectors = out.splitlines()
    assert len(vectors) == len(lines)
    for i in (0, 511, 512, 777, 1199):
        assert spn("embed", STORIES, lines[i])[1].strip() == vectors[i], i
    lines[1100] = "x " * 600  # 512 tokens are the context; what came before is printed
    code, out, err = spn("embed", STORIES, text="\n".join(lines))
    assert code == 1 and "line 1101: " in err and "512" in err, err
    assert out.splitlines() == vectors[:1024]
    code, out, err = spn("embed", STORIES, "--truncate", text="\n".join(lines))
    assert code == 0 and "line 1101 was cut to 512 tokens" in err, err
    code, out, err = spn("embed", STORIES, text="a\nb\0c\n")
    assert code == 1 and "line 2" in err and "NUL" in err, err
    assert spn("embed", STORIES, text="")[:2] == (0, "")


def test_templates_are_rendered():
    messages = path("m.json", '[{"role": "user", "content": "Hi \\u00e9"}]')
    code, out, err = spn("template", STORIES, "--messages", messages, "--template",
                         path("t2.jinja", "{{bos_token}}{{messages[0].content}}{{eos_token}}{{tools|length}}"),
                         "--tools", path("tools.json", "[1, 2]"))
    assert (code, out) == (0, "<s>Hi \u00e9</s>2"), (out, err)
    code, _, err = spn("template", STORIES, "--messages", messages, "--template", path("bad.jinja", "a\n{% for %}"))
    assert code == 1 and "2" in err, err


def test_devices_and_notes():
    code, out, _ = spn("devices", "--json")
    assert code == 0 and json.loads(out)[0]["kind"] == "cpu"
    code, _, err = spn("run", STORIES, "Once", "-n", "2", "--gpu-layers", "-1")
    assert code == 0 and "GPU" in err


def test_help_teaches():
    commands = [line.split("\t")[0] for line in spn("--help-commands")[1].splitlines()]
    assert "run" in commands and "chat" in commands
    for command in commands:
        code, out, _ = spn(command, "--help")
        assert code == 0 and "Examples:" in out and "Options:" in out, command
        assert max(len(line) for line in out.splitlines()) <= 100, command


def main():
    passed = failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            passed += 1
        except Exception as e:  # every test is run, whatever the others do
            failed += 1
            print("%s FAILED: %s: %s" % (name, type(e).__name__, e))
    print("%d passed, %d failed" % (passed, failed))
    return failed > 0 or passed == 0


sys.exit(main())
