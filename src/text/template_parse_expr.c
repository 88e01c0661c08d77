/* template_parse_expr.c - tokens to nodes: expressions. SPDX-License-Identifier: Apache-2.0
 *
 * From loose to tight: x if c else y | or | and | not | comparisons, in | + - | ~ | * / // % | **
 * | signs | . [] () | filters and tests. As in Jinja, ** groups to the left and a filter binds
 * tighter than a binary operator.
 */
#include "text/template_parse.h"

bool spn_tm_is_reserved(const tm_string *name) {
    static const char *const words[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < SPN_COUNT(words); i++)
        if (spn_tm_is_text(name, words[i])) return true;
    return false;
}

static uint32_t line_of(const tm_parser *p) { return spn_tm_look(p, 0)->line; }

static spn_status new_with_parts(tm_parser *p, tm_node_kind kind, uint32_t line, tm_node *a,
                                 tm_node *b, tm_node **out) {
    tm_node *node;
    SPN_TRY(spn_tm_new_node(p, kind, line, &node));
    node->a = a;
    node->b = b;
    SPN_TRY(spn_tm_adopt(p, node, a));
    SPN_TRY(spn_tm_adopt(p, node, b));
    *out = node;
    return SPN_STATUS_OK;
}

/* ---- primaries ---- */

static spn_status new_constant(tm_parser *p, tm_value value, tm_node **out) {
    SPN_TRY(spn_tm_new_node(p, TM_N_CONST, line_of(p), out));
    (*out)->value = value;
    p->at++;
    return SPN_STATUS_OK;
}

static spn_status parse_name(tm_parser *p, tm_node **out) {
    static const struct {
        const char *name;
        uint8_t catches;
    } special[] = {
        {"varargs", TM_CATCH_VARARGS}, {"kwargs", TM_CATCH_KWARGS}, {"caller", TM_CATCH_CALLER}};
    const tm_string *name = spn_tm_look(p, 0)->text;
    if (spn_tm_is_reserved(name)) {
        char first = (char)(name->data[0] | 0x20);
        return new_constant(p, first == 'n' ? tm_none() : tm_bool(first == 't'), out);
    }
    for (size_t i = 0; i < SPN_COUNT(special); i++)
        if (spn_tm_is_text(name, special[i].name)) p->catches |= special[i].catches;
    SPN_TRY(spn_tm_new_node(p, TM_N_NAME, line_of(p), out));
    (*out)->text = name;
    p->at++;
    return SPN_STATUS_OK;
}

/* Texts side by side are one. */
static spn_status parse_text(tm_parser *p, tm_node **out) {
    SPN_TRY(new_constant(p, tm_str(spn_tm_look(p, 0)->text), out));
    size_t first = p->at, len = 0;
    while (spn_tm_look(p, 0)->kind == TM_T_STRING) p->at++;
    if (p->at == first) return SPN_STATUS_OK;
    for (size_t i = first - 1; i < p->at; i++) len += p->tokens->items[i].text->len;
    char *data = spn_arena_alloc(p->arena, len + 1), *end = data;
    tm_string *all = spn_arena_alloc(p->arena, sizeof *all);
    if (data == NULL || all == NULL) return SPN_NO_MEMORY(p->err, "a chat template's texts");
    for (size_t i = first - 1; i < p->at; i++) {
        const tm_string *part = p->tokens->items[i].text;
        memcpy(end, part->data, part->len);
        end += part->len;
    }
    *all = (tm_string){.data = data, .len = len, .n_chars = spn_tm_count_chars(data, len)};
    (*out)->value = tm_str(all);
    return SPN_STATUS_OK;
}

static spn_status parse_list(tm_parser *p, tm_node **out) {
    SPN_TRY(spn_tm_new_node(p, TM_N_LIST, line_of(p), out));
    SPN_TRY(spn_tm_expect(p, "["));
    while (!spn_tm_at_operator(p, "]")) {
        tm_node *item;
        if ((*out)->n > 0) SPN_TRY(spn_tm_expect(p, ","));
        if (spn_tm_at_operator(p, "]")) break;
        SPN_TRY(spn_tm_parse_expression(p, &item));
        SPN_TRY(spn_tm_add_child(p, *out, item));
    }
    return spn_tm_expect(p, "]");
}

static spn_status parse_dict(tm_parser *p, tm_node **out) {
    SPN_TRY(spn_tm_new_node(p, TM_N_DICT, line_of(p), out));
    SPN_TRY(spn_tm_expect(p, "{"));
    while (!spn_tm_at_operator(p, "}")) {
        tm_node *key, *value;
        if ((*out)->n > 0) SPN_TRY(spn_tm_expect(p, ","));
        if (spn_tm_at_operator(p, "}")) break;
        SPN_TRY(spn_tm_parse_expression(p, &key));
        SPN_TRY(spn_tm_expect(p, ":"));
        SPN_TRY(spn_tm_parse_expression(p, &value));
        SPN_TRY(spn_tm_add_child(p, *out, key));
        SPN_TRY(spn_tm_add_child(p, *out, value));
    }
    return spn_tm_expect(p, "}");
}

static spn_status parse_parenthesis(tm_parser *p, tm_node **out) {
    uint32_t line = line_of(p);
    SPN_TRY(spn_tm_expect(p, "("));
    if (spn_tm_skip_operator(p, ")")) return spn_tm_new_node(p, TM_N_TUPLE, line, out);
    SPN_TRY(spn_tm_parse_tuple(p, TM_WITH_COND, NULL, out));
    return spn_tm_expect(p, ")");
}

static spn_status parse_primary(tm_parser *p, tm_node **out) {
    const tm_token *token = spn_tm_look(p, 0);
    switch (token->kind) {
    case TM_T_NAME:
        return parse_name(p, out);
    case TM_T_STRING:
        return parse_text(p, out);
    case TM_T_INT:
        return new_constant(p, tm_int(token->i), out);
    case TM_T_FLOAT:
        return new_constant(p, tm_float(token->f), out);
    default:
        break;
    }
    if (spn_tm_at_operator(p, "(")) return parse_parenthesis(p, out);
    if (spn_tm_at_operator(p, "[")) return parse_list(p, out);
    if (spn_tm_at_operator(p, "{")) return parse_dict(p, out);
    return SPN_TM_UNEXPECTED(p, "an expression");
}

/* ---- what follows a primary ---- */

static spn_status parse_slice_part(tm_parser *p, tm_node *slice, tm_node **out) {
    if (spn_tm_at_operator(p, ":") || spn_tm_at_operator(p, "]") || spn_tm_at_operator(p, ","))
        return SPN_STATUS_OK;
    SPN_TRY(spn_tm_parse_expression(p, out));
    return spn_tm_adopt(p, slice, *out);
}

/* "key", "start:stop" or "start:stop:step". */
static spn_status parse_index(tm_parser *p, tm_node **out) {
    tm_node *first = NULL, *slice;
    uint32_t line = line_of(p);
    if (!spn_tm_at_operator(p, ":")) {
        SPN_TRY(spn_tm_parse_expression(p, &first));
        *out = first;
    }
    if (!spn_tm_skip_operator(p, ":")) return SPN_STATUS_OK;
    SPN_TRY(new_with_parts(p, TM_N_SLICE, line, first, NULL, &slice));
    SPN_TRY(parse_slice_part(p, slice, &slice->b));
    if (spn_tm_skip_operator(p, ":")) SPN_TRY(parse_slice_part(p, slice, &slice->c));
    *out = slice;
    return SPN_STATUS_OK;
}

static spn_status parse_subscript(tm_parser *p, tm_node *object, tm_node **out) {
    uint32_t line = line_of(p);
    tm_node *index = NULL, *tuple = NULL;
    SPN_TRY(spn_tm_expect(p, "["));
    SPN_TRY(parse_index(p, &index));
    if (spn_tm_at_operator(p, ",")) {
        SPN_TRY(spn_tm_new_node(p, TM_N_TUPLE, line, &tuple));
        SPN_TRY(spn_tm_add_child(p, tuple, index));
        while (spn_tm_skip_operator(p, ",")) {
            SPN_TRY(parse_index(p, &index));
            SPN_TRY(spn_tm_add_child(p, tuple, index));
        }
        for (uint32_t i = 0; i < tuple->n; i++)
            if (tuple->list[i]->kind == TM_N_SLICE)
                return SPN_TM_SYNTAX(p->err, line, "a slice cannot stand in a tuple");
        index = tuple;
    }
    SPN_TRY(spn_tm_expect(p, "]"));
    return new_with_parts(p, TM_N_ITEM, line, object, index, out);
}

static spn_status parse_member(tm_parser *p, tm_node *object, tm_node **out) {
    uint32_t line = line_of(p);
    SPN_TRY(spn_tm_expect(p, "."));
    const tm_token *token = spn_tm_look(p, 0);
    if (token->kind == TM_T_INT) {
        tm_node *index;
        SPN_TRY(new_constant(p, tm_int(token->i), &index));
        return new_with_parts(p, TM_N_ITEM, line, object, index, out);
    }
    if (token->kind != TM_T_NAME) return SPN_TM_UNEXPECTED(p, "a name or a number");
    SPN_TRY(new_with_parts(p, TM_N_ATTR, line, object, NULL, out));
    (*out)->text = token->text;
    p->at++;
    return SPN_STATUS_OK;
}

static spn_status bad_call(tm_parser *p) {
    return SPN_TM_SYNTAX(p->err, line_of(p), "the arguments of a call are in the wrong order");
}

static spn_status parse_argument(tm_parser *p, tm_node *call, bool *named) {
    tm_node *arg;
    if (spn_tm_skip_operator(p, "*")) {
        if (call->b != NULL || call->c != NULL) return bad_call(p);
        SPN_TRY(spn_tm_parse_expression(p, &call->b));
        return spn_tm_adopt(p, call, call->b);
    }
    if (call->c != NULL) return bad_call(p);
    if (spn_tm_skip_operator(p, "**")) {
        SPN_TRY(spn_tm_parse_expression(p, &call->c));
        return spn_tm_adopt(p, call, call->c);
    }
    const tm_token *token = spn_tm_look(p, 0), *next = spn_tm_look(p, 1);
    if (token->kind == TM_T_NAME && next->kind == TM_T_OPERATOR &&
        spn_tm_is_text(next->text, "=")) {
        tm_node *value;
        p->at += 2;
        SPN_TRY(spn_tm_parse_expression(p, &value));
        SPN_TRY(new_with_parts(p, TM_N_KEYWORD, token->line, value, NULL, &arg));
        arg->text = token->text;
        *named = true;
        return spn_tm_add_child(p, call, arg);
    }
    if (*named || call->b != NULL) return bad_call(p);
    SPN_TRY(spn_tm_parse_expression(p, &arg));
    return spn_tm_add_child(p, call, arg);
}

/* "(...)" into the list, b and c of a CALL, FILTER or TEST. */
static spn_status parse_arguments(tm_parser *p, tm_node *call) {
    bool named = false, first = true;
    SPN_TRY(spn_tm_expect(p, "("));
    while (!spn_tm_at_operator(p, ")")) {
        if (!first) SPN_TRY(spn_tm_expect(p, ","));
        if (spn_tm_at_operator(p, ")")) break;
        SPN_TRY(parse_argument(p, call, &named));
        first = false;
    }
    if (call->n > SPN_TM_MAX_ARGS)
        return SPN_TM_SYNTAX(p->err, call->line, "a call has more than %d arguments",
                             SPN_TM_MAX_ARGS);
    return spn_tm_expect(p, ")");
}

static spn_status parse_call(tm_parser *p, tm_node *callee, tm_node **out) {
    SPN_TRY(new_with_parts(p, TM_N_CALL, line_of(p), callee, NULL, out));
    return parse_arguments(p, *out);
}

static spn_status parse_postfix(tm_parser *p, tm_node **node) {
    for (;;) {
        if (spn_tm_at_operator(p, "."))
            SPN_TRY(parse_member(p, *node, node));
        else if (spn_tm_at_operator(p, "["))
            SPN_TRY(parse_subscript(p, *node, node));
        else if (spn_tm_at_operator(p, "("))
            SPN_TRY(parse_call(p, *node, node));
        else
            return SPN_STATUS_OK;
    }
}

/* A filter's or a test's name; it may have dots in Jinja, but no known one has. */
static spn_status parse_builtin_name(tm_parser *p, tm_node *node, const char *what) {
    SPN_TRY(spn_tm_expect_name(p, &node->text));
    node->builtin =
        node->kind == TM_N_FILTER ? spn_tm_find_filter(node->text) : spn_tm_find_test(node->text);
    if (node->builtin == NULL && !p->soft)
        return SPN_TM_SYNTAX(p->err, node->line, "there is no %s '%.60s'", what, node->text->data);
    return SPN_STATUS_OK;
}

static spn_status parse_filter(tm_parser *p, tm_node *subject, tm_node **out) {
    SPN_TRY(new_with_parts(p, TM_N_FILTER, line_of(p), subject, NULL, out));
    SPN_TRY(parse_builtin_name(p, *out, "filter"));
    if (spn_tm_at_operator(p, "(")) SPN_TRY(parse_arguments(p, *out));
    return SPN_STATUS_OK;
}

/* An argument without parentheses: "x is divisibleby 3". */
static bool at_test_argument(const tm_parser *p) {
    const tm_token *token = spn_tm_look(p, 0);
    if (token->kind == TM_T_NAME)
        return !spn_tm_at_name(p, "else") && !spn_tm_at_name(p, "or") && !spn_tm_at_name(p, "and");
    if (token->kind == TM_T_OPERATOR)
        return spn_tm_at_operator(p, "[") || spn_tm_at_operator(p, "{");
    return token->kind == TM_T_STRING || token->kind == TM_T_INT || token->kind == TM_T_FLOAT;
}

static spn_status parse_test(tm_parser *p, tm_node *subject, tm_node **out) {
    uint32_t line = line_of(p);
    tm_node *test;
    p->at++; /* is */
    bool negated = spn_tm_skip_name(p, "not");
    SPN_TRY(new_with_parts(p, TM_N_TEST, line, subject, NULL, &test));
    SPN_TRY(parse_builtin_name(p, test, "test"));
    if (spn_tm_at_operator(p, "(")) {
        SPN_TRY(parse_arguments(p, test));
    } else if (at_test_argument(p)) {
        tm_node *arg;
        if (spn_tm_at_name(p, "is"))
            return SPN_TM_SYNTAX(p->err, line, "tests cannot be chained with 'is'");
        SPN_TRY(parse_primary(p, &arg));
        SPN_TRY(parse_postfix(p, &arg));
        SPN_TRY(spn_tm_add_child(p, test, arg));
    }
    *out = test;
    return negated ? new_with_parts(p, TM_N_NOT, line, test, NULL, out) : SPN_STATUS_OK;
}

static spn_status parse_filter_expr(tm_parser *p, tm_node **node) {
    for (;;) {
        if (spn_tm_skip_operator(p, "|"))
            SPN_TRY(parse_filter(p, *node, node));
        else if (spn_tm_at_name(p, "is"))
            SPN_TRY(parse_test(p, *node, node));
        else if (spn_tm_at_operator(p, "("))
            SPN_TRY(parse_call(p, *node, node));
        else
            return SPN_STATUS_OK;
    }
}

spn_status spn_tm_parse_filters(tm_parser *p, bool inline_start, tm_node **out) {
    tm_node *node;
    SPN_TRY(spn_tm_new_node(p, TM_N_SUBJECT, line_of(p), &node));
    if (inline_start) SPN_TRY(parse_filter(p, node, &node));
    while (spn_tm_skip_operator(p, "|")) SPN_TRY(parse_filter(p, node, &node));
    *out = node;
    return SPN_STATUS_OK;
}

/* ---- operators ---- */

static spn_status parse_unary(tm_parser *p, bool with_filter, tm_node **out) {
    uint32_t line = line_of(p);
    bool minus = spn_tm_at_operator(p, "-");
    if (minus || spn_tm_at_operator(p, "+")) {
        tm_node *operand;
        p->at++;
        SPN_TRY(spn_tm_descend(p));
        SPN_TRY(parse_unary(p, false, &operand));
        p->level--;
        SPN_TRY(new_with_parts(p, TM_N_SIGN, line, operand, NULL, out));
        (*out)->op = minus ? TM_SUB : TM_ADD;
    } else {
        SPN_TRY(parse_primary(p, out));
    }
    SPN_TRY(parse_postfix(p, out));
    return with_filter ? parse_filter_expr(p, out) : SPN_STATUS_OK;
}

typedef struct operator_row {
    const char *text;
    uint8_t level;
    uint8_t op;
} operator_row;

#define LEVEL_CONCAT 1
#define LEVEL_UNARY 4

static const operator_row operators[] = {
    {"+", 0, TM_ADD},       {"-", 0, TM_SUB}, {"*", 2, TM_MUL},  {"/", 2, TM_DIV},
    {"//", 2, TM_FLOORDIV}, {"%", 2, TM_MOD}, {"**", 3, TM_POW},
};

static const operator_row *operator_at(const tm_parser *p, unsigned level) {
    for (size_t i = 0; i < SPN_COUNT(operators); i++)
        if (operators[i].level == level && spn_tm_at_operator(p, operators[i].text))
            return &operators[i];
    return NULL;
}

static spn_status parse_binary(tm_parser *p, unsigned level, tm_node **out);

static spn_status parse_concat(tm_parser *p, tm_node **out) {
    tm_node *first, *next;
    uint32_t line = line_of(p);
    SPN_TRY(parse_binary(p, LEVEL_CONCAT + 1, &first));
    *out = first;
    if (!spn_tm_at_operator(p, "~")) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_new_node(p, TM_N_CONCAT, line, out));
    SPN_TRY(spn_tm_add_child(p, *out, first));
    while (spn_tm_skip_operator(p, "~")) {
        SPN_TRY(parse_binary(p, LEVEL_CONCAT + 1, &next));
        SPN_TRY(spn_tm_add_child(p, *out, next));
    }
    return SPN_STATUS_OK;
}

static spn_status parse_binary(tm_parser *p, unsigned level, tm_node **out) {
    if (level == LEVEL_UNARY) return parse_unary(p, true, out);
    if (level == LEVEL_CONCAT) return parse_concat(p, out);
    SPN_TRY(parse_binary(p, level + 1, out));
    for (const operator_row *row; (row = operator_at(p, level)) != NULL;) {
        uint32_t line = line_of(p);
        tm_node *right;
        p->at++;
        SPN_TRY(parse_binary(p, level + 1, &right));
        SPN_TRY(new_with_parts(p, TM_N_BINARY, line, *out, right, out));
        (*out)->op = row->op;
    }
    return SPN_STATUS_OK;
}

static bool skip_comparison(tm_parser *p, tm_op *op) {
    static const struct {
        const char *text;
        tm_op op;
    } rows[] = {{"==", TM_EQ}, {"!=", TM_NE}, {"<", TM_LT},
                {"<=", TM_LE}, {">", TM_GT},  {">=", TM_GE}};
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        *op = rows[i].op;
        if (spn_tm_skip_operator(p, rows[i].text)) return true;
    }
    *op = TM_IN;
    if (spn_tm_skip_name(p, "in")) return true;
    const tm_token *next = spn_tm_look(p, 1);
    if (!spn_tm_at_name(p, "not") || next->kind != TM_T_NAME || !spn_tm_is_text(next->text, "in"))
        return false;
    *op = TM_NOT_IN;
    p->at += 2;
    return true;
}

static spn_status parse_compare(tm_parser *p, tm_node **out) {
    tm_node *first, *right, *operand;
    uint32_t line = line_of(p);
    tm_op op;
    SPN_TRY(parse_binary(p, 0, &first));
    *out = first;
    while (skip_comparison(p, &op)) {
        if (*out == first) SPN_TRY(new_with_parts(p, TM_N_COMPARE, line, first, NULL, out));
        SPN_TRY(parse_binary(p, 0, &right));
        SPN_TRY(new_with_parts(p, TM_N_OPERAND, line, right, NULL, &operand));
        operand->op = (uint8_t)op;
        SPN_TRY(spn_tm_add_child(p, *out, operand));
    }
    return SPN_STATUS_OK;
}

static spn_status parse_not(tm_parser *p, tm_node **out) {
    uint32_t line = line_of(p);
    tm_node *operand;
    if (!spn_tm_skip_name(p, "not")) return parse_compare(p, out);
    SPN_TRY(spn_tm_descend(p));
    SPN_TRY(parse_not(p, &operand));
    p->level--;
    return new_with_parts(p, TM_N_NOT, line, operand, NULL, out);
}

static spn_status parse_and(tm_parser *p, tm_node **out) {
    uint32_t line = line_of(p);
    tm_node *right;
    SPN_TRY(parse_not(p, out));
    while (spn_tm_skip_name(p, "and")) {
        SPN_TRY(parse_not(p, &right));
        SPN_TRY(new_with_parts(p, TM_N_AND, line, *out, right, out));
    }
    return SPN_STATUS_OK;
}

static spn_status parse_or(tm_parser *p, tm_node **out) {
    uint32_t line = line_of(p);
    tm_node *right;
    SPN_TRY(parse_and(p, out));
    while (spn_tm_skip_name(p, "or")) {
        SPN_TRY(parse_and(p, &right));
        SPN_TRY(new_with_parts(p, TM_N_OR, line, *out, right, out));
    }
    return SPN_STATUS_OK;
}

/* Filters in a condition's parts may never run (see `soft`). They are parsed before its "if" is
 * seen, so look for one: between here and the tag's end, outside of brackets that close. */
static bool condition_follows(const tm_parser *p) {
    int nesting = 0;
    for (size_t i = p->at; i < p->tokens->n; i++) {
        const tm_token *token = &p->tokens->items[i];
        if (token->kind == TM_T_NAME && nesting == 0 && spn_tm_is_text(token->text, "if"))
            return true;
        if (token->kind == TM_T_BLOCK_END || token->kind == TM_T_PRINT_END) return false;
        if (token->kind != TM_T_OPERATOR) continue;
        char c = token->text->data[0];
        nesting += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        if (nesting < 0 || (nesting == 0 && (c == ',' || c == ':'))) return false;
    }
    return false;
}

static spn_status parse_condition(tm_parser *p, tm_node **out) {
    tm_node *node;
    SPN_TRY(parse_or(p, out));
    while (spn_tm_at_name(p, "if")) {
        SPN_TRY(spn_tm_new_node(p, TM_N_COND, line_of(p), &node));
        p->at++;
        node->b = *out;
        SPN_TRY(parse_or(p, &node->a));
        if (spn_tm_skip_name(p, "else")) {
            SPN_TRY(spn_tm_descend(p));
            SPN_TRY(parse_condition(p, &node->c));
            p->level--;
        }
        SPN_TRY(spn_tm_adopt(p, node, node->a));
        SPN_TRY(spn_tm_adopt(p, node, node->b));
        SPN_TRY(spn_tm_adopt(p, node, node->c));
        *out = node;
    }
    return SPN_STATUS_OK;
}

static spn_status parse_expression_as(tm_parser *p, tm_cond cond, tm_node **out) {
    bool soft = p->soft;
    SPN_TRY(spn_tm_descend(p));
    if (cond == TM_NO_COND) {
        SPN_TRY(parse_or(p, out));
    } else {
        p->soft = soft || condition_follows(p);
        SPN_TRY(parse_condition(p, out));
        p->soft = soft;
    }
    p->level--;
    return SPN_STATUS_OK;
}

spn_status spn_tm_parse_expression(tm_parser *p, tm_node **out) {
    return parse_expression_as(p, TM_WITH_COND, out);
}

static bool at_tuple_end(const tm_parser *p, const char *end) {
    uint8_t kind = spn_tm_look(p, 0)->kind;
    if (kind == TM_T_PRINT_END || kind == TM_T_BLOCK_END || spn_tm_at_operator(p, ")")) return true;
    return end != NULL && spn_tm_at_name(p, end);
}

spn_status spn_tm_parse_tuple(tm_parser *p, tm_cond cond, const char *end, tm_node **out) {
    tm_node *item;
    uint32_t line = line_of(p);
    SPN_TRY(parse_expression_as(p, cond, &item));
    *out = item;
    if (!spn_tm_at_operator(p, ",")) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_new_node(p, TM_N_TUPLE, line, out));
    SPN_TRY(spn_tm_add_child(p, *out, item));
    while (spn_tm_skip_operator(p, ",") && !at_tuple_end(p, end)) {
        SPN_TRY(parse_expression_as(p, cond, &item));
        SPN_TRY(spn_tm_add_child(p, *out, item));
    }
    return SPN_STATUS_OK;
}

/* ---- targets of assignments ---- */

static spn_status parse_one_target(tm_parser *p, bool with_namespace, tm_node **out) {
    uint32_t line = line_of(p);
    if (spn_tm_skip_operator(p, "(")) {
        SPN_TRY(spn_tm_descend(p));
        SPN_TRY(spn_tm_parse_target(p, with_namespace, NULL, out));
        p->level--;
        return spn_tm_expect(p, ")");
    }
    const tm_string *name;
    SPN_TRY(spn_tm_expect_name(p, &name));
    if (spn_tm_is_reserved(name))
        return SPN_TM_SYNTAX(p->err, line, "cannot assign to '%s'", name->data);
    SPN_TRY(spn_tm_new_node(p, TM_N_NAME, line, out));
    (*out)->text = name;
    if (!with_namespace || !spn_tm_skip_operator(p, ".")) return SPN_STATUS_OK;
    SPN_TRY(new_with_parts(p, TM_N_MEMBER, line, *out, NULL, out));
    return spn_tm_expect_name(p, &(*out)->text);
}

spn_status spn_tm_parse_target(tm_parser *p, bool with_namespace, const char *end, tm_node **out) {
    tm_node *item;
    uint32_t line = line_of(p);
    SPN_TRY(parse_one_target(p, with_namespace, &item));
    *out = item;
    if (!spn_tm_at_operator(p, ",")) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_new_node(p, TM_N_TUPLE, line, out));
    SPN_TRY(spn_tm_add_child(p, *out, item));
    while (spn_tm_skip_operator(p, ",") && !spn_tm_at_operator(p, "=") && !at_tuple_end(p, end)) {
        SPN_TRY(parse_one_target(p, with_namespace, &item));
        SPN_TRY(spn_tm_add_child(p, *out, item));
    }
    return SPN_STATUS_OK;
}
