#!/usr/bin/env python3
"""make_templates.py - what Jinja2 makes of the templates in templates/cases.txt.
SPDX-License-Identifier: Apache-2.0

    make_templates.py > templates/cases.json

Needs Python's jinja2 (Debian: python3-jinja2, 3.1), set up as the transformers library does it. For
a case that fails the line of the template comes along, from the exception or its traceback.
"""
import datetime
import json
import os
import sys
import traceback

import jinja2
import jinja2.ext
import jinja2.sandbox

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = 1735603323  # 2024-12-31 00:02:03 UTC, a Tuesday in the first ISO week of 2025


class Generation(jinja2.ext.Extension):
    """transformers' {% generation %}, without its bookkeeping."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("render_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def render_body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(form)


ENV = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
ENV.filters["tojson"] = tojson
ENV.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)


def line_of(error):
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "<template>"]
    return frames[-1] if frames else 0


def render(template, variables):
    values = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": False,
              "bos_token": "", "eos_token": ""}
    values.update(variables)
    try:
        return {"output": ENV.from_string(template).render(**values)}
    except Exception as error:  # whatever Python raises
        return {"line": line_of(error), "reason": f"{type(error).__name__}: {error}"[:100]}


def cases():
    name, lines = None, []
    with open(os.path.join(HERE, "templates", "cases.txt"), encoding="utf-8", newline="\n") as file:
        for line in list(file) + ["=== \n"]:
            if line.startswith("=== "):
                if name is not None:
                    yield name, lines
                name, lines = line[4:].strip(), []
            elif name is not None:
                lines.append(line)


def main():
    rows, wrong = [], []
    for name, lines in cases():
        variables = {}
        if lines and lines[-1].startswith("--- "):
            variables = json.loads(lines.pop()[4:])
        template = "".join(lines)
        row = {"name": name, "template": template, "variables": variables}
        row.update(render(template, variables))
        if ("output" in row) == name.startswith("error-"):
            wrong.append(f"{name}: {row.get('output', row.get('reason'))}")
        rows.append(row)
    if wrong:
        sys.exit("\n".join(wrong))
    print("[")
    print(",\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    print("]")


if __name__ == "__main__":
    main()
