/* test_template.c - chat templates against Jinja2's own results, bounds, failing memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "text/template.h"

#define CASES "tests/golden/templates/cases.json"
#define NOW 1735603323 /* as in make_templates.py */

/* ---- what Jinja2 makes of the cases ---- */

static spn_status render(const char *source, size_t len, const spn_template_input *input,
                         spn_buf *out, spn_error *err) {
    spn_template *tmpl = NULL;
    spn_status status = spn_template_parse(&tmpl, source, len, err);
    if (status == SPN_STATUS_OK) status = spn_template_render(tmpl, input, out, err);
    spn_template_free(tmpl);
    return status;
}

/* A sentence about what is wrong, or NULL. The line that an error names is Jinja2's; where Python
 * gives none (0) any is right. */
static const char *check_result(const json_t *row, spn_status status, const spn_buf *out,
                                const spn_error *err) {
    const json_t *output = json_object_get(row, "output");
    if (output != NULL) {
        if (status != SPN_STATUS_OK) return err->text;
        size_t len = json_string_length(output);
        if (out->len != len || (len && memcmp(out->data, json_string_value(output), len) != 0))
            return out->len ? out->data : "nothing is written";
        return NULL;
    }
    if (status != SPN_STATUS_TEMPLATE) return "no failure";
    if (out->len != 0) return "a failure leaves output";
    json_int_t line = json_integer_value(json_object_get(row, "line"));
    char expected[64];
    snprintf(expected, sizeof expected, "chat template, line %lld: ", (long long)line);
    if (line != 0 && strncmp(err->text, expected, strlen(expected)) != 0) return err->text;
    return NULL;
}

static bool case_passes(const json_t *row) {
    const json_t *source = json_object_get(row, "template");
    char *extra = json_dumps(json_object_get(row, "variables"), 0);
    spn_template_input input = {.messages_json = "[]", .extra_json = extra, .now = NOW};
    spn_buf out = SPN_BUF(0);
    spn_error err = {0};
    spn_status status =
        render(json_string_value(source), json_string_length(source), &input, &out, &err);
    const char *wrong = check_result(row, status, &out, &err);
    if (wrong != NULL)
        print_error("%s: got: %s\n", json_string_value(json_object_get(row, "name")), wrong);
    spn_buf_free(&out);
    free(extra);
    return wrong == NULL;
}

static void renders_as_jinja2(void **state) {
    (void)state;
    json_error_t error;
    json_t *rows = json_load_file(CASES, JSON_ALLOW_NUL, &error), *row;
    assert_non_null(rows);
    assert_true(json_array_size(rows) > 200);
    size_t i, n_wrong = 0;
    json_array_foreach(rows, i, row) n_wrong += !case_passes(row);
    json_decref(rows);
    assert_int_equal(n_wrong, 0);
}

/* ---- inputs ---- */

static void assert_renders(const char *source, const spn_template_input *input,
                           const char *expected) {
    spn_buf out = SPN_BUF(0);
    spn_error err = {0};
    if (render(source, strlen(source), input, &out, &err) != SPN_STATUS_OK)
        fail_msg("%s", err.text);
    assert_string_equal(out.data ? out.data : "", expected);
    spn_buf_free(&out);
}

static spn_status failure_of(const char *source, const spn_template_input *input, spn_error *err) {
    spn_buf out = SPN_BUF(0);
    spn_status status = render(source, strlen(source), input, &out, err);
    assert_int_equal(out.len, 0);
    spn_buf_free(&out);
    return status;
}

static void sees_its_input(void **state) {
    (void)state;
    spn_template_input input = {
        .messages_json = "[{\"role\":\"user\",\"content\":\"hi\"}]",
        .tools_json = "[{\"name\":\"f\"}]",
        .extra_json = "{\"enable_thinking\":false,\"eos_token\":\"<eot>\"}",
        .bos_token = "<s>",
        .eos_token = "</s>",
        .add_generation_prompt = true,
        .now = 86400 + 3661,
    };
    assert_renders("{{ bos_token }}{{ messages[0].content }}{{ tools[0].name }}{{ eos_token }}"
                   "{{ add_generation_prompt }}{{ enable_thinking }}",
                   &input, "<s>hif<eot>TrueFalse");
    assert_renders("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", &input, "1970-01-02 01:01:01");
}

static void appends_to_what_is_there(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]"};
    spn_buf out = SPN_BUF(0);
    spn_error err;
    assert_true(spn_buf_append_text(&out, "before "));
    assert_int_equal(render("{{ 1 }}", 7, &input, &out, &err), SPN_STATUS_OK);
    assert_string_equal(out.data, "before 1");
    const char *fails = "text{{ x.y }}";
    assert_int_equal(render(fails, strlen(fails), &input, &out, &err), SPN_STATUS_TEMPLATE);
    assert_string_equal(out.data, "before 1");
    spn_buf_free(&out);
}

static void refuses_bad_json(void **state) {
    (void)state;
    spn_error err;
    spn_template_input input = {.messages_json = "[{\"role\": ]"};
    assert_int_equal(failure_of("x", &input, &err), SPN_STATUS_JSON);
    assert_non_null(strstr(err.text, "messages"));
    input = (spn_template_input){.messages_json = "[]", .extra_json = "[]"};
    assert_int_equal(failure_of("x", &input, &err), SPN_STATUS_JSON);
    input = (spn_template_input){.messages_json = "[]", .tools_json = "nul"};
    assert_int_equal(failure_of("x", &input, &err), SPN_STATUS_JSON);
    assert_non_null(strstr(err.text, "tools"));
}

static void refuses_bad_utf8(void **state) {
    (void)state;
    spn_template *tmpl = NULL;
    spn_error err;
    const char *source = "ok\n\n\xFF";
    assert_int_equal(spn_template_parse(&tmpl, source, strlen(source), &err), SPN_STATUS_TEMPLATE);
    assert_null(tmpl);
    assert_non_null(strstr(err.text, "line 3"));
}

static void takes_windows_line_breaks(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]"};
    assert_renders("{% if true %}\r\na\r\n{% endif %}\rb\r\n", &input, "a\nb");
}

/* ---- bounds ---- */

static void assert_fails_with(const char *source, const spn_template_input *input,
                              const char *part) {
    spn_error err = {0};
    assert_int_equal(failure_of(source, input, &err), SPN_STATUS_TEMPLATE);
    if (strstr(err.text, part) == NULL) fail_msg("%s", err.text);
}

static void bounds_steps(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]", .limits = {.n_steps = 100000}};
    assert_fails_with(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", &input,
        "steps");
    assert_fails_with("{% set x = ('a' * 9999 + 'b') * 50 %}{{ x.find('a' * 9999 + 'c') }}", &input,
                      "steps");
    assert_fails_with("{% for a in range(99999) if a in range(99999) %}{% endfor %}", &input,
                      "steps");
}

static void bounds_memory(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]", .limits = {.n_memory = 1 << 20}};
    assert_fails_with("{{ 'x' * 9999999999 }}", &input, "bytes of values");
    assert_fails_with("{{ [1] * 9223372036854775807 }}", &input, "bytes of values");
    assert_fails_with("{% set ns = namespace(s='x') %}{% for i in range(99) %}"
                      "{% set ns.s = ns.s + ns.s %}{% endfor %}",
                      &input, "bytes of values");
}

static void bounds_output(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]", .limits = {.n_output = 1000}};
    assert_fails_with("{% for i in range(1001) %}x{% endfor %}", &input, "writes more than 1000");
    assert_fails_with("{% macro f() %}{{ 'x' * 600 }}{% endmacro %}{{ f() }}", &input,
                      "writes more than 1000");
}

/* `n` times `open`, `middle`, `n` times `close`. */
static char *nest(const char *open, const char *middle, const char *close, size_t n) {
    spn_buf buf = SPN_BUF(0);
    for (size_t i = 0; i < n; i++) spn_buf_append_text(&buf, open);
    spn_buf_append_text(&buf, middle);
    for (size_t i = 0; i < n; i++) spn_buf_append_text(&buf, close);
    assert_false(buf.failed);
    return buf.data;
}

static void bounds_nesting(void **state) {
    (void)state;
    static const struct {
        const char *open, *middle, *close;
    } rows[] = {
        {"{{ ", "1", " }}"},           {"{% if 1 %}", "x", "{% endif %}"},
        {"{{ (", "1", ") }}"},         {"{{ [", "1", "] }}"},
        {"{{ -", "1", "}}"},           {"{{ not ", "1", "}}"},
        {"{{ 1 + ", "1", "}}"},        {"{{ 1 ~ ", "1", "}}"},
        {"{{ x", "", ".a }}"},         {"{{ 1 if 1 else ", "2", "}}"},
        {"{{ 1 and ", "1", "}}"},      {"{{ x[", "1", "] }}"},
        {"{{ f(", "1", ") }}"},        {"{% for a in b %}", "", "{% endfor %}"},
        {"{% set ", "x", " = 1 %}"},   {"{{ x ", "|f", "}}"},
        {"{% set (", "x", ") = 1 %}"}, {"{{ {1: ", "1", "} }}"},
    };
    spn_template_input input = {.messages_json = "[]"};
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        for (size_t n = 10; n <= 100000; n *= 10) {
            /* Opens and closes the tag once where the row is about what stands in it. */
            char *source = nest(rows[i].open, rows[i].middle, rows[i].close, n);
            spn_buf out = SPN_BUF(0);
            spn_error err;
            spn_status status = render(source, strlen(source), &input, &out, &err);
            assert_true(status == SPN_STATUS_OK || status == SPN_STATUS_TEMPLATE);
            spn_buf_free(&out);
            spn_free(source);
        }
    }
}

/* The same, within one tag. */
static void bounds_nesting_in_a_tag(void **state) {
    (void)state;
    static const struct {
        const char *open, *close;
        size_t fits;  /* this many levels work */
        bool is_flat; /* any number does */
    } rows[] = {
        {"(", ")", 100, false},           {"[", "]", 100, false},      {"-", "", 100, false},
        {"not ", "", 100, false},         {"1 + ", "", 250, false},    {"'' ~ ", "", 250, true},
        {"1 and ", "", 250, false},       {"0 or ", "", 250, false},   {"", ".x", 0, false},
        {"1 if 0 else ", "", 100, false}, {"{1: ", "}", 100, false},   {"", "|abs", 250, false},
        {"[0][", "]", 0, false},          {"dict(a=", ")", 60, false}, {"1 < ", "", 250, true},
        {"1 ** ", "", 250, false},
    };
    spn_template_input input = {.messages_json = "[]"};
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        for (size_t n = 10; n <= 100000; n *= 10) {
            char *inner = nest(rows[i].open, "1", rows[i].close, n < 100 ? rows[i].fits : n);
            spn_buf source = SPN_BUF(0), out = SPN_BUF(0);
            assert_true(spn_buf_printf(&source, "{{ %s }}", inner));
            spn_error err;
            spn_status status = render(source.data, source.len, &input, &out, &err);
            if (n < 100 && status != SPN_STATUS_OK) fail_msg("%s: %s", rows[i].open, err.text);
            if (n > 1000 && !rows[i].is_flat) assert_int_equal(status, SPN_STATUS_TEMPLATE);
            spn_buf_free(&out);
            spn_buf_free(&source);
            spn_free(inner);
        }
    }
}

static void bounds_values(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]"};
    /* lists within lists, made by a loop */
#define NESTED_LISTS                   \
    "{%% set ns = namespace(l=[]) %%}" \
    "{%% for i in range(100000) %%}{%% set ns.l = [ns.l] %%}{%% endfor %%}{{ %s }}"
    static const char *const uses[] = {"ns.l", "ns.l | tojson", "ns.l == [ns.l][0][:]",
                                       "ns.l < ns.l[0]", "{(ns.l,): 1}"};
    for (size_t i = 0; i < SPN_COUNT(uses); i++) {
        spn_buf buf = SPN_BUF(0);
        assert_true(spn_buf_printf(&buf, NESTED_LISTS, uses[i]));
        spn_error err;
        assert_int_equal(failure_of(buf.data, &input, &err), SPN_STATUS_TEMPLATE);
        spn_buf_free(&buf);
    }
    /* a namespace that holds itself */
    assert_renders("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me == ns }}", &input,
                   "True");
    char *deep = nest("[", "", "]", 1000);
    input.messages_json = deep;
    spn_error err;
    assert_int_equal(failure_of("x", &input, &err), SPN_STATUS_JSON);
    spn_free(deep);
}

static void bounds_integers(void **state) {
    (void)state;
    spn_template_input input = {.messages_json = "[]"};
    static const char *const sources[] = {
        "{{ 9223372036854775808 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ 9223372036854775807 * 2 }}",
        "{{ 2 ** 63 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ -(-9223372036854775807 - 1) }}",
        "{{ (-9223372036854775807 - 1) | abs }}",
        "{{ 1e300 | int }}",
    };
    for (size_t i = 0; i < SPN_COUNT(sources); i++) {
        spn_error err;
        assert_int_equal(failure_of(sources[i], &input, &err), SPN_STATUS_TEMPLATE);
    }
    assert_renders("{{ -9223372036854775807 - 1 }} {{ 9223372036854775807 }} "
                   "{{ (-9223372036854775807 - 1) % -1 }} "
                   "{{ range(9223372036854775806, 9223372036854775807) | list }} "
                   "{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}",
                   &input, "-9223372036854775808 9223372036854775807 0 [9223372036854775806] a");
}

static void looks_up_in_large_dicts(void **state) {
    (void)state;
    spn_buf json = SPN_BUF(0);
    spn_buf_append_text(&json, "{\"d\": {");
    for (int i = 0; i < 5000; i++)
        spn_buf_printf(&json, "%s\"k%d\": %d", i ? "," : "", (i * 7919) % 5000, i);
    spn_buf_append_text(&json, "}}");
    spn_template_input input = {.messages_json = "[]", .extra_json = json.data};
    /* the i that makes k1 is the inverse of 7919 modulo 5000, checked by the product */
    assert_renders("{% set i = d.k1 %}{{ (i * 7919) % 5000 }} {{ d.k0 }} {{ 'k4999' in d }} "
                   "{{ 'k5000' in d }} {{ d.k is defined }} {{ (d | list)[1] }}",
                   &input, "1 0 True False False k2919");
    spn_buf_free(&json);
}

/* ---- failing memory ---- */

typedef struct failing_heap {
    size_t n_left;
    size_t n_live;
} failing_heap;

static void *heap_malloc(size_t n_bytes, void *user) {
    failing_heap *heap = user;
    if (heap->n_left == 0) return NULL;
    heap->n_left--;
    void *block = malloc(n_bytes);
    heap->n_live += block != NULL;
    return block;
}

static void *heap_realloc(void *block, size_t n_bytes, void *user) {
    failing_heap *heap = user;
    if (heap->n_left == 0) return NULL;
    heap->n_left--;
    void *moved = realloc(block, n_bytes);
    heap->n_live += block == NULL && moved != NULL;
    return moved;
}

static void heap_free(void *block, void *user) {
    failing_heap *heap = user;
    heap->n_live--;
    free(block);
}

static void survives_failing_memory(void **state) {
    (void)state;
    static const char source[] =
        "{% macro f(x) %}{{ x | upper }}{% endmacro %}{% for m in messages %}{{ f(m.content) }}"
        "{{ m | tojson(indent=2) }}{{ '%5s' % m.role ~ m }}{{ m.content.split(' ') | join('-') }}"
        "{% set t %}{{ m.content | replace('a', 'bb') * 5000 }}{% endset %}{{ t | length }}"
        "{{ t[::-1] | length }}{{ t | indent | length }}{% endfor %}";
    spn_template_input input = {.messages_json =
                                    "[{\"role\": \"user\", \"content\": \"a b \\u00e9\"}]"};
    failing_heap heap = {0};
    const spn_allocator allocator = {heap_malloc, heap_realloc, heap_free, &heap};
    assert_int_equal(spn_set_allocator(&allocator), SPN_STATUS_OK);
    spn_status status = SPN_STATUS_NO_MEMORY;
    size_t n = 0;
    for (; status == SPN_STATUS_NO_MEMORY && n < 10000; n++) {
        heap.n_left = n;
        spn_buf out = SPN_BUF(0);
        spn_error err = {0};
        status = render(source, sizeof source - 1, &input, &out, &err);
        if (status != SPN_STATUS_OK) assert_int_equal(err.status, status);
        spn_buf_free(&out);
        assert_int_equal(heap.n_live, 0);
    }
    spn_set_allocator(NULL);
    assert_int_equal(status, SPN_STATUS_OK);
    assert_true(n > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_jinja2),
        cmocka_unit_test(sees_its_input),
        cmocka_unit_test(appends_to_what_is_there),
        cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(refuses_bad_utf8),
        cmocka_unit_test(takes_windows_line_breaks),
        cmocka_unit_test(bounds_steps),
        cmocka_unit_test(bounds_memory),
        cmocka_unit_test(bounds_output),
        cmocka_unit_test(bounds_nesting),
        cmocka_unit_test(bounds_nesting_in_a_tag),
        cmocka_unit_test(bounds_values),
        cmocka_unit_test(bounds_integers),
        cmocka_unit_test(looks_up_in_large_dicts),
        cmocka_unit_test(survives_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
