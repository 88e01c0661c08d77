/* json.c - the commands' JSON output. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "cli/cli.h"

int spn_cli_print_json(struct json_t *value, bool indented) {
    size_t flags = JSON_REAL_PRECISION(9) | (indented ? JSON_INDENT(2) : JSON_COMPACT);
    if (value == NULL) return spn_cli_fail("cannot print JSON: no memory");
    bool ok = json_dumpf(value, stdout, flags) == 0 && fputc('\n', stdout) != EOF;
    json_decref(value);
    return ok ? SPN_EXIT_OK : spn_cli_fail("cannot write the output");
}
