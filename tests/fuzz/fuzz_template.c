/* fuzz_template.c - any bytes as a chat template, rendered with a conversation and tight limits.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What stands behind a first NUL byte is taken for the template's variables, as JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char messages[] =
    "[{\"role\":\"system\",\"content\":\"Be brief.\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Gr\\u00fc\\u00dfe "
    "\\ud83d\\ude00\"}]},"
    "{\"role\":\"assistant\",\"content\":\"<think>\\nx\\n</think>\\n\\ny\",\"tool_calls\":"
    "[{\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,null,true]}}}]},"
    "{\"role\":\"tool\",\"content\":\"\"}]";
static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"array\"}},\"required\":[\"a\"]}}}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n_source = nul != NULL ? (size_t)(nul - data) : size;
    char *source = malloc(n_source + 1), *extra = NULL;
    if (source == NULL) return 0;
    if (n_source > 0) memcpy(source, data, n_source);
    if (nul != NULL) {
        size_t n_extra = size - n_source - 1;
        extra = calloc(n_extra + 1, 1);
        if (extra != NULL && n_extra > 0) memcpy(extra, nul + 1, n_extra);
    }
    spn_template *tmpl = NULL;
    spn_error err;
    if (spn_template_parse(&tmpl, source, n_source, &err) == SPN_STATUS_OK) {
        spn_template_input input = {
            .messages_json = messages,
            .tools_json = tools,
            .extra_json = extra,
            .bos_token = "<s>",
            .eos_token = "</s>",
            .add_generation_prompt = true,
            .now = 1735603323,
            .limits = {.n_steps = 100000, .n_output = 1 << 18, .n_memory = 4 << 20},
        };
        spn_buf out = SPN_BUF(1 << 20);
        spn_template_render(tmpl, &input, &out, &err);
        spn_buf_free(&out);
    }
    spn_template_free(tmpl);
    free(source);
    free(extra);
    return 0;
}
