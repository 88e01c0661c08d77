/* template.h - chat templates: the Jinja language as models ship it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A template is untrusted input. Parsing bounds its depth and size; rendering bounds its steps,
 * its output and its memory, reads nothing from outside and calls nothing outside.
 *
 * A parsed template is immutable: share it freely.
 */
#ifndef SPN_TEMPLATE_H
#define SPN_TEMPLATE_H

#include "base/base.h"

typedef struct spn_template spn_template;

/* Errors: TEMPLATE (names the line), NO_MEMORY. */
spn_status spn_template_parse(spn_template **out, const char *source, size_t n_bytes,
                              spn_error *err);
void spn_template_free(spn_template *tmpl);

/* What a template sees. */
typedef struct spn_template_input {
    const char *messages_json; /* JSON array of {"role", "content", ...} objects */
    const char *tools_json;    /* JSON array, or NULL for none */
    const char *extra_json;    /* JSON object of further variables (enable_thinking ...), or NULL */
    const char *bos_token;     /* texts; NULL for "" */
    const char *eos_token;
    bool add_generation_prompt;
    int64_t now; /* for strftime_now: seconds since 1970, UTC */
} spn_template_input;

/* Appends the prompt to `out`. Errors: TEMPLATE (names the line, or the text that the template
 * raised), JSON (input that is none), NO_MEMORY. */
spn_status spn_template_render(const spn_template *tmpl, const spn_template_input *input,
                               spn_buf *out, spn_error *err);

#endif
