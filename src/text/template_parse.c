/* template_parse.c - tokens to nodes: statements. SPDX-License-Identifier: Apache-2.0
 *
 * A recursive descent that follows Jinja's own parser rule by rule, expressions being in
 * template_parse_expr.c. Nesting is counted twice: of the calls (`level`), which bounds this
 * parser's stack, and of the tree (node->depth), which bounds that of the evaluation.
 */
#include <stdio.h>

#include "text/template_parse.h"

spn_status spn_tm_syntax(spn_error *err, uint32_t line, const char *fmt, ...) {
    char text[400];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) text[0] = '\0';
    return SPN_FAIL(err, TEMPLATE, "chat template, line %u: %s", (unsigned)line, text);
}

/* ---- what both halves of the parser use ---- */

const tm_token *spn_tm_look(const tm_parser *p, size_t n) {
    size_t at = spn_min_size(p->at + n, p->tokens->n - 1);
    return &p->tokens->items[at];
}

bool spn_tm_at_operator(const tm_parser *p, const char *op) {
    const tm_token *token = spn_tm_look(p, 0);
    return token->kind == TM_T_OPERATOR && spn_tm_is_text(token->text, op);
}

bool spn_tm_at_name(const tm_parser *p, const char *name) {
    const tm_token *token = spn_tm_look(p, 0);
    return token->kind == TM_T_NAME && spn_tm_is_text(token->text, name);
}

bool spn_tm_skip_operator(tm_parser *p, const char *op) {
    if (!spn_tm_at_operator(p, op)) return false;
    p->at++;
    return true;
}

bool spn_tm_skip_name(tm_parser *p, const char *name) {
    if (!spn_tm_at_name(p, name)) return false;
    p->at++;
    return true;
}

static void describe_token(const tm_token *token, char out[80]) {
    static const char *const names[] = {
        [TM_T_EOF] = "the end of the template",
        [TM_T_DATA] = "text",
        [TM_T_PRINT_BEGIN] = "'{{'",
        [TM_T_PRINT_END] = "'}}'",
        [TM_T_BLOCK_BEGIN] = "'{%'",
        [TM_T_BLOCK_END] = "'%}'",
        [TM_T_STRING] = "a quoted text",
        [TM_T_INT] = "a number",
        [TM_T_FLOAT] = "a number",
    };
    if (token->kind == TM_T_NAME || token->kind == TM_T_OPERATOR)
        snprintf(out, 80, "'%.60s'", token->text->data);
    else
        snprintf(out, 80, "%s", names[token->kind]);
}

spn_status spn_tm_unexpected(tm_parser *p, const char *expected) {
    const tm_token *token = spn_tm_look(p, 0);
    char found[80];
    describe_token(token, found);
    return SPN_TM_SYNTAX(p->err, token->line, "expected %s, found %s", expected, found);
}

spn_status spn_tm_expect(tm_parser *p, const char *op) {
    char quoted[16];
    if (spn_tm_skip_operator(p, op)) return SPN_STATUS_OK;
    snprintf(quoted, sizeof quoted, "'%s'", op);
    return SPN_TM_UNEXPECTED(p, quoted);
}

spn_status spn_tm_expect_name(tm_parser *p, const tm_string **out) {
    const tm_token *token = spn_tm_look(p, 0);
    if (token->kind != TM_T_NAME) return SPN_TM_UNEXPECTED(p, "a name");
    *out = token->text;
    p->at++;
    return SPN_STATUS_OK;
}

static spn_status expect_mark(tm_parser *p, tm_token_kind kind, const char *what) {
    if (spn_tm_look(p, 0)->kind != kind) return SPN_TM_UNEXPECTED(p, what);
    p->at++;
    return SPN_STATUS_OK;
}

spn_status spn_tm_new_node(tm_parser *p, tm_node_kind kind, uint32_t line, tm_node **out) {
    tm_node *node = spn_arena_alloc(p->arena, sizeof *node);
    if (node == NULL) return SPN_NO_MEMORY(p->err, "a chat template's nodes");
    node->kind = (uint8_t)kind;
    node->line = line;
    node->depth = 1;
    *out = node;
    return SPN_STATUS_OK;
}

spn_status spn_tm_adopt(tm_parser *p, tm_node *node, const tm_node *child) {
    if (child == NULL || child->depth < node->depth) return SPN_STATUS_OK;
    if (child->depth >= SPN_TM_MAX_NODE_DEPTH)
        return SPN_TM_SYNTAX(p->err, node->line, "the template is nested too deep");
    node->depth = (uint16_t)(child->depth + 1);
    return SPN_STATUS_OK;
}

spn_status spn_tm_add_child(tm_parser *p, tm_node *node, tm_node *child) {
    /* The list's room is the next power of two, so it is full when n is one. */
    if ((node->n & (node->n - 1)) == 0) {
        tm_node **list = spn_arena_array(p->arena, node->n ? (size_t)node->n * 2 : 1, sizeof *list);
        if (list == NULL) return SPN_NO_MEMORY(p->err, "a chat template's nodes");
        if (node->n > 0) memcpy(list, node->list, node->n * sizeof *list);
        node->list = list;
    }
    node->list[node->n++] = child;
    return spn_tm_adopt(p, node, child);
}

spn_status spn_tm_descend(tm_parser *p) {
    if (++p->level > SPN_TM_MAX_PARSE_LEVEL)
        return SPN_TM_SYNTAX(p->err, spn_tm_look(p, 0)->line, "the template is nested too deep");
    return SPN_STATUS_OK;
}

/* ---- statements ---- */

/* A body: an optional colon, the tag's end, statements up to a tag that starts with one of the
 * words in `ends`, which is left as the current token. */
static spn_status parse_body(tm_parser *p, const char *ends, tm_node **out);

static bool at_one_of(const tm_parser *p, const char *words) {
    const tm_token *token = spn_tm_look(p, 0);
    if (token->kind != TM_T_NAME) return false;
    while (*words != '\0') {
        size_t n = strcspn(words, " ");
        if (token->text->len == n && memcmp(token->text->data, words, n) == 0) return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

static spn_status expect_block_end(tm_parser *p) { return expect_mark(p, TM_T_BLOCK_END, "'%}'"); }

/* A body whose end tag is `end`, with that tag's word; the "%}" behind it is left. */
static spn_status parse_body_to(tm_parser *p, const char *end, tm_node **out) {
    SPN_TRY(parse_body(p, end, out));
    p->at++;
    return SPN_STATUS_OK;
}

/* What is inside sees a new scope: unknown filters there are errors again, loops around it are
 * out of reach of break unless `in_loop`. */
typedef struct inner_state {
    bool soft;
    bool in_loop;
} inner_state;

static inner_state begin_inner(tm_parser *p, bool in_loop) {
    inner_state outer = {p->soft, p->in_loop};
    p->soft = false;
    p->in_loop = in_loop;
    return outer;
}

static void end_inner(tm_parser *p, inner_state outer) {
    p->soft = outer.soft;
    p->in_loop = outer.in_loop;
}

static spn_status parse_branch(tm_parser *p, tm_node *parent, bool has_test) {
    tm_node *branch;
    SPN_TRY(spn_tm_new_node(p, TM_N_BRANCH, spn_tm_look(p, 0)->line, &branch));
    if (has_test) SPN_TRY(spn_tm_parse_tuple(p, TM_NO_COND, NULL, &branch->a));
    SPN_TRY(parse_body(p, has_test ? "elif else endif" : "endif", &branch->b));
    SPN_TRY(spn_tm_adopt(p, branch, branch->a));
    SPN_TRY(spn_tm_adopt(p, branch, branch->b));
    return spn_tm_add_child(p, parent, branch);
}

static spn_status parse_if(tm_parser *p, tm_node *node) {
    bool soft = p->soft;
    node->kind = TM_N_IF;
    p->soft = true; /* Jinja looks up filters that may never run only when they run */
    SPN_TRY(parse_branch(p, node, true));
    while (spn_tm_skip_name(p, "elif")) SPN_TRY(parse_branch(p, node, true));
    if (spn_tm_skip_name(p, "else")) SPN_TRY(parse_branch(p, node, false));
    p->at++; /* endif */
    p->soft = soft;
    return SPN_STATUS_OK;
}

static spn_status parse_for(tm_parser *p, tm_node *node) {
    node->kind = TM_N_FOR;
    SPN_TRY(spn_tm_parse_target(p, false, "in", &node->a));
    if (!spn_tm_skip_name(p, "in")) return SPN_TM_UNEXPECTED(p, "'in'");
    SPN_TRY(spn_tm_parse_tuple(p, TM_NO_COND, "recursive", &node->b));
    inner_state outer = begin_inner(p, true);
    if (spn_tm_skip_name(p, "if")) SPN_TRY(spn_tm_parse_expression(p, &node->c));
    node->flag = spn_tm_skip_name(p, "recursive");
    SPN_TRY(parse_body(p, "endfor else", &node->d));
    p->in_loop = outer.in_loop;
    if (spn_tm_skip_name(p, "else"))
        SPN_TRY(parse_body_to(p, "endfor", &node->e));
    else
        p->at++;
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

static spn_status parse_set(tm_parser *p, tm_node *node) {
    SPN_TRY(spn_tm_parse_target(p, true, NULL, &node->a));
    if (spn_tm_skip_operator(p, "=")) {
        node->kind = TM_N_SET;
        return spn_tm_parse_tuple(p, TM_WITH_COND, NULL, &node->b);
    }
    node->kind = TM_N_CAPTURE;
    inner_state outer = begin_inner(p, p->in_loop);
    if (spn_tm_at_operator(p, "|")) SPN_TRY(spn_tm_parse_filters(p, false, &node->b));
    SPN_TRY(parse_body_to(p, "endset", &node->d));
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

static spn_status parse_filter_block(tm_parser *p, tm_node *node) {
    node->kind = TM_N_FILTERED;
    inner_state outer = begin_inner(p, p->in_loop);
    SPN_TRY(spn_tm_parse_filters(p, true, &node->b));
    SPN_TRY(parse_body_to(p, "endfilter", &node->d));
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

/* "(a, b=1)" to PARAM nodes. */
static spn_status parse_signature(tm_parser *p, tm_node *node) {
    bool has_default = false;
    SPN_TRY(spn_tm_expect(p, "("));
    while (!spn_tm_at_operator(p, ")")) {
        tm_node *param;
        if (node->n > 0) SPN_TRY(spn_tm_expect(p, ","));
        SPN_TRY(spn_tm_new_node(p, TM_N_PARAM, spn_tm_look(p, 0)->line, &param));
        SPN_TRY(spn_tm_expect_name(p, &param->text));
        if (spn_tm_is_reserved(param->text))
            return SPN_TM_SYNTAX(p->err, param->line, "cannot assign to '%s'", param->text->data);
        if (spn_tm_skip_operator(p, "=")) {
            SPN_TRY(spn_tm_parse_expression(p, &param->a));
            SPN_TRY(spn_tm_adopt(p, param, param->a));
            has_default = true;
        } else if (has_default) {
            return SPN_TM_SYNTAX(p->err, param->line, "'%s' needs a default, as those before it",
                                 param->text->data);
        }
        SPN_TRY(spn_tm_add_child(p, node, param));
    }
    return spn_tm_expect(p, ")");
}

/* The body of a macro or a call block, with what it catches. */
static spn_status parse_macro_body(tm_parser *p, tm_node *node, const char *end) {
    uint8_t catches = p->catches;
    inner_state outer = begin_inner(p, false);
    p->catches = 0;
    SPN_TRY(parse_body_to(p, end, &node->d));
    node->catches = p->catches;
    p->catches = catches;
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

static spn_status parse_macro(tm_parser *p, tm_node *node) {
    node->kind = TM_N_MACRO;
    SPN_TRY(spn_tm_expect_name(p, &node->text));
    SPN_TRY(parse_signature(p, node));
    return parse_macro_body(p, node, "endmacro");
}

static spn_status parse_call_block(tm_parser *p, tm_node *node) {
    node->kind = TM_N_CALLER;
    if (spn_tm_at_operator(p, "(")) SPN_TRY(parse_signature(p, node));
    SPN_TRY(spn_tm_parse_expression(p, &node->a));
    if (node->a->kind != TM_N_CALL)
        return SPN_TM_SYNTAX(p->err, node->line, "a call block needs a call");
    return parse_macro_body(p, node, "endcall");
}

static spn_status parse_with(tm_parser *p, tm_node *node) {
    node->kind = TM_N_WITH;
    while (spn_tm_look(p, 0)->kind != TM_T_BLOCK_END && !spn_tm_at_operator(p, ":")) {
        tm_node *target, *value;
        if (node->n > 0) SPN_TRY(spn_tm_expect(p, ","));
        SPN_TRY(spn_tm_parse_target(p, false, NULL, &target));
        SPN_TRY(spn_tm_expect(p, "="));
        SPN_TRY(spn_tm_parse_expression(p, &value));
        SPN_TRY(spn_tm_add_child(p, node, target));
        SPN_TRY(spn_tm_add_child(p, node, value));
    }
    inner_state outer = begin_inner(p, p->in_loop);
    SPN_TRY(parse_body_to(p, "endwith", &node->d));
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

/* Marks what the assistant says, for training; here it is a mere scope. */
static spn_status parse_generation(tm_parser *p, tm_node *node) {
    node->kind = TM_N_SCOPE;
    inner_state outer = begin_inner(p, false);
    SPN_TRY(parse_body_to(p, "endgeneration", &node->d));
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

static spn_status parse_autoescape(tm_parser *p, tm_node *node) {
    node->kind = TM_N_SCOPE;
    if (!spn_tm_skip_name(p, "false") && !spn_tm_skip_name(p, "False"))
        return SPN_TM_SYNTAX(p->err, node->line, "autoescape is supported only as false");
    inner_state outer = begin_inner(p, p->in_loop);
    SPN_TRY(parse_body_to(p, "endautoescape", &node->d));
    end_inner(p, outer);
    return SPN_STATUS_OK;
}

static spn_status parse_print(tm_parser *p, tm_node *node) {
    node->kind = TM_N_PRINT;
    while (spn_tm_look(p, 0)->kind != TM_T_BLOCK_END) {
        tm_node *child;
        if (node->n > 0) SPN_TRY(spn_tm_expect(p, ","));
        SPN_TRY(spn_tm_parse_expression(p, &child));
        SPN_TRY(spn_tm_add_child(p, node, child));
    }
    return SPN_STATUS_OK;
}

static spn_status parse_jump(tm_parser *p, tm_node *node, tm_node_kind kind, const char *name) {
    if (!p->in_loop) return SPN_TM_SYNTAX(p->err, node->line, "'%s' outside of a loop", name);
    node->kind = (uint8_t)kind;
    return SPN_STATUS_OK;
}

static spn_status parse_break(tm_parser *p, tm_node *node) {
    return parse_jump(p, node, TM_N_BREAK, "break");
}

static spn_status parse_continue(tm_parser *p, tm_node *node) {
    return parse_jump(p, node, TM_N_CONTINUE, "continue");
}

static spn_status parse_statement(tm_parser *p, tm_node **out) {
    static const struct {
        const char *name;
        spn_status (*parse)(tm_parser *p, tm_node *node);
    } rows[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"generation", parse_generation},
        {"break", parse_break},
        {"continue", parse_continue},
        {"call", parse_call_block},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"print", parse_print},
        {"autoescape", parse_autoescape},
    };
    const tm_token *token = spn_tm_look(p, 0);
    const tm_string *name;
    SPN_TRY(spn_tm_expect_name(p, &name));
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        if (!spn_tm_is_text(name, rows[i].name)) continue;
        tm_node *node;
        SPN_TRY(spn_tm_new_node(p, TM_N_BLOCK, token->line, &node));
        SPN_TRY(rows[i].parse(p, node));
        tm_node *const parts[] = {node->a, node->b, node->c, node->d, node->e};
        for (size_t k = 0; k < SPN_COUNT(parts); k++) SPN_TRY(spn_tm_adopt(p, node, parts[k]));
        *out = node;
        return SPN_STATUS_OK;
    }
    return SPN_TM_SYNTAX(p->err, token->line, "unknown tag '%.60s'", name->data);
}

static spn_status parse_data(tm_parser *p, tm_node *block) {
    const tm_token *token = spn_tm_look(p, 0);
    tm_node *node;
    SPN_TRY(spn_tm_new_node(p, TM_N_DATA, token->line, &node));
    node->text = token->text;
    p->at++;
    return spn_tm_add_child(p, block, node);
}

static spn_status parse_output(tm_parser *p, tm_node *block) {
    tm_node *node, *value;
    SPN_TRY(spn_tm_new_node(p, TM_N_PRINT, spn_tm_look(p, 0)->line, &node));
    p->at++;
    SPN_TRY(spn_tm_parse_tuple(p, TM_WITH_COND, NULL, &value));
    SPN_TRY(spn_tm_add_child(p, node, value));
    SPN_TRY(expect_mark(p, TM_T_PRINT_END, "'}}'"));
    return spn_tm_add_child(p, block, node);
}

/* Statements up to the end (`ends` is NULL) or to a tag of `ends`; stands at its word then. */
static spn_status parse_statements(tm_parser *p, const char *ends, tm_node *block) {
    for (;;) {
        const tm_token *token = spn_tm_look(p, 0);
        if (token->kind == TM_T_EOF) {
            if (ends == NULL) return SPN_STATUS_OK;
            return SPN_TM_SYNTAX(p->err, block->line,
                                 "the tag that begins here has no end (expected: %s)", ends);
        }
        if (token->kind == TM_T_DATA) {
            SPN_TRY(parse_data(p, block));
        } else if (token->kind == TM_T_PRINT_BEGIN) {
            SPN_TRY(parse_output(p, block));
        } else {
            tm_node *node;
            p->at++; /* "{%": outside of tags nothing else is left */
            if (ends != NULL && at_one_of(p, ends)) return SPN_STATUS_OK;
            SPN_TRY(parse_statement(p, &node));
            SPN_TRY(spn_tm_add_child(p, block, node));
            SPN_TRY(expect_block_end(p));
        }
    }
}

static spn_status parse_body(tm_parser *p, const char *ends, tm_node **out) {
    SPN_TRY(spn_tm_new_node(p, TM_N_BLOCK, spn_tm_look(p, 0)->line, out));
    spn_tm_skip_operator(p, ":");
    SPN_TRY(expect_block_end(p));
    SPN_TRY(spn_tm_descend(p));
    SPN_TRY(parse_statements(p, ends, *out));
    p->level--;
    return SPN_STATUS_OK;
}

spn_status spn_tm_parse(spn_arena *arena, const tm_tokens *tokens, tm_node **root, spn_error *err) {
    tm_parser p = {.arena = arena, .tokens = tokens, .err = err};
    tm_node *block;
    SPN_TRY(spn_tm_new_node(&p, TM_N_BLOCK, 1, &block));
    SPN_TRY(parse_statements(&p, NULL, block));
    *root = block;
    return SPN_STATUS_OK;
}
