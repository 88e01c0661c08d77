/* template.c - parsing and rendering chat templates: the outside of the interpreter.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <utf8proc.h>

#include "text/template_impl.h"

/* ---- parsing ---- */

#define PARSE_MEMORY ((size_t)256 << 20) /* of nodes and texts of one template */

/* Where the text stops to be UTF-8, or `len`. */
static size_t find_bad_utf8(const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        utf8proc_int32_t ch;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(len - at), &ch);
        if (n <= 0) break;
        at += (size_t)n;
    }
    return at;
}

static spn_status check_source(const char *source, size_t len, spn_error *err) {
    if (len > SPN_TM_MAX_SOURCE)
        return SPN_FAIL(err, TEMPLATE, "a chat template of %zu bytes exceeds the limit of %zu", len,
                        SPN_TM_MAX_SOURCE);
    size_t bad = find_bad_utf8(source, len);
    if (bad == len) return SPN_STATUS_OK;
    uint32_t line = 1;
    for (size_t i = 0; i < bad; i++) line += source[i] == '\n';
    return SPN_TM_SYNTAX(err, line, "the template is not valid UTF-8");
}

/* Line breaks become "\n" and a last one goes away, as Jinja does it. */
static char *normalize(spn_arena *arena, const char *source, size_t len, size_t *out_len) {
    char *text = spn_arena_alloc(arena, len + 1);
    size_t n = 0;
    if (text == NULL) return NULL;
    for (size_t i = 0; i < len; i++) {
        text[n] = source[i];
        if (source[i] == '\r') {
            text[n] = '\n';
            if (i + 1 < len && source[i + 1] == '\n') i++;
        }
        n++;
    }
    if (n > 0 && text[n - 1] == '\n') n--;
    *out_len = n;
    return text;
}

static spn_status parse_into(spn_template *tmpl, const char *source, size_t len, spn_error *err) {
    tm_tokens tokens = {0};
    size_t n;
    char *text = normalize(&tmpl->arena, source, len, &n);
    if (text == NULL) return SPN_NO_MEMORY(err, "a chat template");
    spn_status status = spn_tm_lex(&tmpl->arena, text, n, &tokens, err);
    if (status == SPN_STATUS_OK) status = spn_tm_parse(&tmpl->arena, &tokens, &tmpl->root, err);
    spn_free(tokens.items);
    return status;
}

spn_status spn_template_parse(spn_template **out, const char *source, size_t n_bytes,
                              spn_error *err) {
    SPN_TRY(check_source(source, n_bytes, err));
    spn_template *tmpl = spn_alloc_zeroed(1, sizeof *tmpl);
    if (tmpl == NULL) return SPN_NO_MEMORY(err, "a chat template");
    tmpl->arena.max = PARSE_MEMORY;
    spn_status status = parse_into(tmpl, source, n_bytes, err);
    if (status != SPN_STATUS_OK) {
        spn_template_free(tmpl);
        return status;
    }
    *out = tmpl;
    return SPN_STATUS_OK;
}

void spn_template_free(spn_template *tmpl) {
    if (tmpl == NULL) return;
    spn_arena_free(&tmpl->arena);
    spn_free(tmpl);
}

/* ---- rendering ---- */

static spn_status set_variable(tm_context *c, const char *name, tm_value value) {
    tm_value key;
    SPN_TRY(spn_tm_text(c, name, &key));
    return spn_tm_frame_set(c, c->frame, key.s, value);
}

static spn_status set_text(tm_context *c, const char *name, const char *text) {
    tm_value value;
    SPN_TRY(spn_tm_text(c, text != NULL ? text : "", &value));
    return set_variable(c, name, value);
}

static spn_status set_json(tm_context *c, const char *name, const char *what, const char *json) {
    tm_value value = tm_none();
    if (json != NULL) SPN_TRY(spn_tm_from_json(c, json, what, &value));
    return set_variable(c, name, value);
}

static spn_status set_extra(tm_context *c, const char *json) {
    tm_value extra;
    if (json == NULL) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_from_json(c, json, "the template's variables", &extra));
    if (extra.kind != TM_DICT)
        return SPN_FAIL(c->err, JSON, "the template's variables must be a JSON object");
    for (size_t i = 0; i < extra.d->n; i++)
        SPN_TRY(spn_tm_frame_set(c, c->frame, extra.d->pairs[i].key.s, extra.d->pairs[i].value));
    return SPN_STATUS_OK;
}

static spn_status set_variables(tm_context *c, const spn_template_input *input) {
    SPN_TRY(spn_tm_add_globals(c, c->frame));
    SPN_TRY(set_json(c, "messages", "the messages", input->messages_json));
    SPN_TRY(set_json(c, "tools", "the tools", input->tools_json));
    SPN_TRY(set_variable(c, "documents", tm_none()));
    SPN_TRY(set_variable(c, "add_generation_prompt", tm_bool(input->add_generation_prompt)));
    SPN_TRY(set_text(c, "bos_token", input->bos_token));
    SPN_TRY(set_text(c, "eos_token", input->eos_token));
    return set_extra(c, input->extra_json);
}

static void set_limits(tm_context *c, const spn_template_limits *limits) {
    c->limits = *limits;
    if (c->limits.n_steps == 0) c->limits.n_steps = 50000000;
    if (c->limits.n_output == 0) c->limits.n_output = (size_t)64 << 20;
    if (c->limits.n_memory == 0) c->limits.n_memory = (size_t)512 << 20;
    c->arena.max = c->limits.n_memory;
}

spn_status spn_template_render(const spn_template *tmpl, const spn_template_input *input,
                               spn_buf *out, spn_error *err) {
    tm_frame frame = {0};
    size_t len = out->len;
    tm_context c = {.frame = &frame, .out = out, .line = 1, .now = input->now, .err = err};
    set_limits(&c, &input->limits);
    spn_status status = set_variables(&c, input);
    if (status == SPN_STATUS_OK) status = spn_tm_exec(&c, tmpl->root);
    spn_arena_free(&c.arena);
    if (status != SPN_STATUS_OK && out->data != NULL) {
        out->len = len;
        out->data[len] = '\0';
    }
    return status;
}
