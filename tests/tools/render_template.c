/* render_template.c - renders chat templates from files, for comparing with a reference.
 * SPDX-License-Identifier: Apache-2.0
 *
 * render_template CASES.json: an array of {"template": text, "messages": [...], "tools": [...] or
 * null, "extra": {...}, "bos_token": text, "eos_token": text, "add_generation_prompt": bool,
 * "now": seconds}. Prints an array of {"output": text} or {"error": text}, in the same order.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/template.h"

static char *dump(json_t *json) {
    return json == NULL || json_is_null(json) ? NULL : json_dumps(json, JSON_ENCODE_ANY);
}

static json_t *render(json_t *row) {
    json_t *source = json_object_get(row, "template");
    char *messages = dump(json_object_get(row, "messages"));
    char *tools = dump(json_object_get(row, "tools"));
    char *extra = dump(json_object_get(row, "extra"));
    spn_template_input input = {
        .messages_json = messages,
        .tools_json = tools,
        .extra_json = extra,
        .bos_token = json_string_value(json_object_get(row, "bos_token")),
        .eos_token = json_string_value(json_object_get(row, "eos_token")),
        .add_generation_prompt = json_is_true(json_object_get(row, "add_generation_prompt")),
        .now = json_integer_value(json_object_get(row, "now")),
    };
    spn_template *tmpl = NULL;
    spn_error err = {0};
    spn_buf out = SPN_BUF(0);
    spn_status status =
        spn_template_parse(&tmpl, json_string_value(source), json_string_length(source), &err);
    if (status == SPN_STATUS_OK) status = spn_template_render(tmpl, &input, &out, &err);
    json_t *result = status == SPN_STATUS_OK
                         ? json_pack("{s:s%}", "output", out.len ? out.data : "", out.len)
                         : json_pack("{s:s}", "error", err.text);
    spn_template_free(tmpl);
    spn_buf_free(&out);
    free(messages);
    free(tools);
    free(extra);
    return result;
}

int main(int argc, char **argv) {
    json_error_t error;
    json_t *rows = argc == 2 ? json_load_file(argv[1], JSON_ALLOW_NUL, &error) : NULL;
    if (!json_is_array(rows)) {
        fprintf(stderr, "usage: %s CASES.json (%s)\n", argv[0], argc == 2 ? error.text : "");
        return 2;
    }
    json_t *results = json_array(), *row;
    size_t i;
    json_array_foreach(rows, i, row) json_array_append_new(results, render(row));
    json_dumpf(results, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(results);
    json_decref(rows);
    return 0;
}
