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

/* `source` is UTF-8. Errors: TEMPLATE (names the line), NO_MEMORY. */
spn_status spn_template_parse(spn_template **out, const char *source, size_t n_bytes,
                              spn_error *err);
void spn_template_free(spn_template *tmpl);

/* Zero means default for every field. */
typedef struct spn_template_limits {
    uint64_t n_steps; /* nodes evaluated and items walked; default 50 million, a few seconds */
    size_t n_output;  /* bytes written, those of captured blocks and macros too; default 64 MB */
    size_t n_memory;  /* bytes of values; default 512 MB */
} spn_template_limits;

/* What a template sees: `messages`, `tools`, `documents` (none unless `extra_json` has it),
 * `add_generation_prompt`, `bos_token`, `eos_token` and the members of `extra_json`, which win over
 * all of these. */
typedef struct spn_template_input {
    const char *messages_json; /* JSON array of {"role", "content", ...} objects */
    const char *tools_json;    /* JSON array, or NULL for none */
    const char *extra_json;    /* JSON object of further variables (enable_thinking ...), or NULL */
    const char *bos_token;     /* texts; NULL for "" */
    const char *eos_token;
    bool add_generation_prompt;
    int64_t now; /* for strftime_now: seconds since 1970, UTC */
    spn_template_limits limits;
} spn_template_input;

/* Appends the prompt to `out`. Errors: TEMPLATE (names the line, or the text that the template
 * raised), JSON (input that is none), NO_MEMORY. */
spn_status spn_template_render(const spn_template *tmpl, const spn_template_input *input,
                               spn_buf *out, spn_error *err);

#endif
