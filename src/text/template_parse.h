/* template_parse.h - what the two halves of the template parser share.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SPN_TEMPLATE_PARSE_H
#define SPN_TEMPLATE_PARSE_H

#include "text/template_impl.h"

#define SPN_TM_MAX_PARSE_LEVEL 150

typedef struct tm_parser {
    spn_arena *arena;
    const tm_tokens *tokens;
    size_t at;
    unsigned level;
    bool soft;       /* what is parsed may never run, so unknown filters are no error yet */
    bool in_loop;    /* break and continue are allowed */
    uint8_t catches; /* what the macro around it mentions: tm_catch */
    spn_error *err;
} tm_parser;

const tm_token *spn_tm_look(const tm_parser *p, size_t n);
bool spn_tm_at_operator(const tm_parser *p, const char *op);
bool spn_tm_at_name(const tm_parser *p, const char *name);
bool spn_tm_skip_operator(tm_parser *p, const char *op);
bool spn_tm_skip_name(tm_parser *p, const char *name);
spn_status spn_tm_unexpected(tm_parser *p, const char *expected);
#define SPN_TM_UNEXPECTED(p, expected) \
    spn_failed(spn_tm_unexpected((p), (expected)), SPN_STATUS_TEMPLATE)
spn_status spn_tm_expect(tm_parser *p, const char *op);
spn_status spn_tm_expect_name(tm_parser *p, const tm_string **out);

spn_status spn_tm_new_node(tm_parser *p, tm_node_kind kind, uint32_t line, tm_node **out);
/* Makes the node deeper than its child (which may be NULL). */
spn_status spn_tm_adopt(tm_parser *p, tm_node *node, const tm_node *child);
spn_status spn_tm_add_child(tm_parser *p, tm_node *node, tm_node *child);
/* One level of nesting more; `p->level--` ends it. */
spn_status spn_tm_descend(tm_parser *p);

typedef enum tm_cond { TM_NO_COND, TM_WITH_COND } tm_cond;

bool spn_tm_is_reserved(const tm_string *name); /* true, none ...: no target of an assignment */
spn_status spn_tm_parse_expression(tm_parser *p, tm_node **out);
/* Expressions with commas between them are a tuple. `end` is a further word that ends it. */
spn_status spn_tm_parse_tuple(tm_parser *p, tm_cond cond, const char *end, tm_node **out);
spn_status spn_tm_parse_target(tm_parser *p, bool with_namespace, const char *end, tm_node **out);
/* "| a | b(1)" of a block, or "a | b(1)" when `inline_start`; filters a SUBJECT. */
spn_status spn_tm_parse_filters(tm_parser *p, bool inline_start, tm_node **out);

#endif
