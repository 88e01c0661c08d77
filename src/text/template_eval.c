/* template_eval.c - what an expression is worth. SPDX-License-Identifier: Apache-2.0 */
#include "text/template_impl.h"

static spn_status eval_name(tm_context *c, const tm_node *n, tm_value *out) {
    for (const tm_frame *frame = c->frame; frame != NULL; frame = frame->parent) {
        const tm_value *found = spn_tm_frame_find(frame, n->text);
        if (found == NULL) continue;
        *out = *found;
        return SPN_STATUS_OK;
    }
    *out = (tm_value){.kind = TM_UNDEFINED, .why = TM_WHY_NAME, .s = n->text};
    return SPN_STATUS_OK;
}

static spn_status eval_list(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value *items = spn_tm_alloc(c, n->n, sizeof *items);
    if (items == NULL) return SPN_TM_NO_MEMORY(c);
    for (uint32_t i = 0; i < n->n; i++) SPN_TRY(spn_tm_eval(c, n->list[i], &items[i]));
    return spn_tm_list(c, n->kind == TM_N_LIST ? TM_LIST : TM_TUPLE, items, n->n, out);
}

static spn_status eval_dict(tm_context *c, const tm_node *n, tm_value *out) {
    tm_dict *dict;
    SPN_TRY(spn_tm_dict_new(c, n->n / 2, &dict));
    for (uint32_t i = 0; i + 1 < n->n; i += 2) {
        tm_value key, value;
        SPN_TRY(spn_tm_eval(c, n->list[i], &key));
        SPN_TRY(spn_tm_eval(c, n->list[i + 1], &value));
        SPN_TRY(spn_tm_dict_set(c, dict, key, value));
    }
    *out = (tm_value){.kind = TM_DICT, .d = dict};
    return SPN_STATUS_OK;
}

static spn_status eval_attr(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value object;
    SPN_TRY(spn_tm_eval(c, n->a, &object));
    c->line = n->line;
    return spn_tm_attr(c, object, n->text, out);
}

static spn_status eval_slice(tm_context *c, const tm_node *slice, tm_value object, tm_value *out) {
    const tm_node *const parts[3] = {slice->a, slice->b, slice->c};
    tm_value range[3];
    for (size_t i = 0; i < 3; i++) {
        range[i] = tm_none();
        if (parts[i] != NULL) SPN_TRY(spn_tm_eval(c, parts[i], &range[i]));
    }
    return spn_tm_slice(c, object, range, out);
}

static spn_status eval_item(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value object, key;
    SPN_TRY(spn_tm_eval(c, n->a, &object));
    if (n->b->kind == TM_N_SLICE) return eval_slice(c, n->b, object, out);
    SPN_TRY(spn_tm_eval(c, n->b, &key));
    c->line = n->line;
    return spn_tm_item(c, object, key, out);
}

/* ---- calls ---- */

typedef struct arg_list {
    tm_items items;
    tm_items named;
    const tm_string **names;
    size_t names_cap;
} arg_list;

static spn_status add_named(tm_context *c, arg_list *list, const tm_string *name, tm_value value) {
    size_t at = list->named.n;
    for (size_t i = 0; i < at; i++)
        if (spn_tm_same_text(list->names[i], name))
            return SPN_TM_FAIL(c, "an argument '%.60s' is given twice", name->data);
    if (at == list->names_cap) {
        size_t cap = at ? at * 2 : 8;
        const tm_string **names = spn_tm_alloc(c, cap, sizeof *names);
        if (names == NULL) return SPN_TM_NO_MEMORY(c);
        for (size_t i = 0; i < at; i++) names[i] = list->names[i];
        list->names = names;
        list->names_cap = cap;
    }
    list->names[at] = name;
    return spn_tm_push(c, &list->named, value);
}

static spn_status add_unpacked(tm_context *c, const tm_node *call, arg_list *list) {
    tm_value value;
    const tm_value *items;
    size_t n;
    if (call->b != NULL) {
        SPN_TRY(spn_tm_eval(c, call->b, &value));
        SPN_TRY(spn_tm_iterate(c, value, &items, &n));
        for (size_t i = 0; i < n; i++) SPN_TRY(spn_tm_push(c, &list->items, items[i]));
    }
    if (call->c == NULL) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_eval(c, call->c, &value));
    if (value.kind != TM_DICT) return SPN_TM_FAIL(c, "what stands behind ** must be a dict");
    for (size_t i = 0; i < value.d->n; i++) {
        const tm_string *name;
        SPN_TRY(spn_tm_arg_string(c, value.d->pairs[i].key, "an argument's name", &name));
        SPN_TRY(add_named(c, list, name, value.d->pairs[i].value));
    }
    return SPN_STATUS_OK;
}

spn_status spn_tm_eval_args(tm_context *c, const tm_node *call, tm_args *out) {
    arg_list list = {0};
    for (uint32_t i = 0; i < call->n; i++) {
        const tm_node *arg = call->list[i];
        tm_value value;
        bool named = arg->kind == TM_N_KEYWORD;
        SPN_TRY(spn_tm_eval(c, named ? arg->a : arg, &value));
        SPN_TRY(named ? add_named(c, &list, arg->text, value) : spn_tm_push(c, &list.items, value));
    }
    SPN_TRY(add_unpacked(c, call, &list));
    *out = (tm_args){.items = list.items.items,
                     .n = list.items.n,
                     .names = list.names,
                     .named = list.named.items,
                     .n_named = list.named.n};
    return SPN_STATUS_OK;
}

static spn_status eval_call(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value callee;
    tm_args args;
    SPN_TRY(spn_tm_eval(c, n->a, &callee));
    SPN_TRY(spn_tm_eval_args(c, n, &args));
    c->line = n->line;
    return spn_tm_call_value(c, callee, &args, out);
}

/* A filter or a test. */
static spn_status eval_builtin(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value subject;
    tm_args args;
    SPN_TRY(spn_tm_eval(c, n->a, &subject));
    SPN_TRY(spn_tm_eval_args(c, n, &args));
    c->line = n->line;
    if (n->builtin == NULL)
        return SPN_TM_FAIL(c, "there is no %s '%.60s'", n->kind == TM_N_TEST ? "test" : "filter",
                           n->text->data);
    return spn_tm_call_builtin(c, n->builtin, subject, &args, out);
}

/* ---- operators ---- */

static spn_status eval_not(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value value;
    bool truth;
    SPN_TRY(spn_tm_eval(c, n->a, &value));
    SPN_TRY(spn_tm_truth(c, value, &truth));
    *out = tm_bool(!truth);
    return SPN_STATUS_OK;
}

/* Gives the operand that decided, as Python. */
static spn_status eval_logic(tm_context *c, const tm_node *n, tm_value *out) {
    bool truth;
    SPN_TRY(spn_tm_eval(c, n->a, out));
    SPN_TRY(spn_tm_truth(c, *out, &truth));
    return truth == (n->kind == TM_N_AND) ? spn_tm_eval(c, n->b, out) : SPN_STATUS_OK;
}

static spn_status eval_sign(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value value;
    SPN_TRY(spn_tm_eval(c, n->a, &value));
    c->line = n->line;
    if (n->op == TM_SUB) return spn_tm_negate(c, value, out);
    if (value.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, value);
    if (!spn_tm_is_number(&value))
        return SPN_TM_FAIL(c, "a %s has no sign", spn_tm_type_name(&value));
    *out = value.kind == TM_FLOAT ? value : tm_int(spn_tm_int_of(&value));
    return SPN_STATUS_OK;
}

static spn_status eval_binary(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value a, b;
    SPN_TRY(spn_tm_eval(c, n->a, &a));
    SPN_TRY(spn_tm_eval(c, n->b, &b));
    c->line = n->line;
    return spn_tm_binary(c, n->op, a, b, out);
}

static spn_status eval_concat(tm_context *c, const tm_node *n, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    for (uint32_t i = 0; i < n->n && status == SPN_STATUS_OK; i++) {
        tm_value part;
        status = spn_tm_eval(c, n->list[i], &part);
        if (status == SPN_STATUS_OK) status = spn_tm_put_str(c, &buf, part);
    }
    return spn_tm_finish(c, &buf, status, out);
}

/* a < b < c: each operand is evaluated once, and none behind the first that fails. */
static spn_status eval_compare(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value left, right;
    bool result = true;
    SPN_TRY(spn_tm_eval(c, n->a, &left));
    for (uint32_t i = 0; i < n->n && result; i++) {
        SPN_TRY(spn_tm_eval(c, n->list[i]->a, &right));
        c->line = n->line;
        SPN_TRY(spn_tm_compare(c, n->list[i]->op, left, right, &result));
        left = right;
    }
    *out = tm_bool(result);
    return SPN_STATUS_OK;
}

static spn_status eval_condition(tm_context *c, const tm_node *n, tm_value *out) {
    tm_value test;
    bool truth;
    SPN_TRY(spn_tm_eval(c, n->a, &test));
    SPN_TRY(spn_tm_truth(c, test, &truth));
    if (truth) return spn_tm_eval(c, n->b, out);
    if (n->c != NULL) return spn_tm_eval(c, n->c, out);
    return spn_tm_undefined(c, "an 'if' without 'else' was false and its value is used", out);
}

static spn_status eval_node(tm_context *c, const tm_node *n, tm_value *out) {
    switch (n->kind) {
    case TM_N_CONST:
        *out = n->value;
        return SPN_STATUS_OK;
    case TM_N_SUBJECT:
        *out = c->subject;
        return SPN_STATUS_OK;
    case TM_N_NAME:
        return eval_name(c, n, out);
    case TM_N_LIST:
    case TM_N_TUPLE:
        return eval_list(c, n, out);
    case TM_N_DICT:
        return eval_dict(c, n, out);
    case TM_N_ATTR:
        return eval_attr(c, n, out);
    case TM_N_ITEM:
        return eval_item(c, n, out);
    case TM_N_CALL:
        return eval_call(c, n, out);
    case TM_N_FILTER:
    case TM_N_TEST:
        return eval_builtin(c, n, out);
    case TM_N_NOT:
        return eval_not(c, n, out);
    case TM_N_SIGN:
        return eval_sign(c, n, out);
    case TM_N_BINARY:
        return eval_binary(c, n, out);
    case TM_N_AND:
    case TM_N_OR:
        return eval_logic(c, n, out);
    case TM_N_CONCAT:
        return eval_concat(c, n, out);
    case TM_N_COMPARE:
        return eval_compare(c, n, out);
    case TM_N_COND:
        return eval_condition(c, n, out);
    default:
        return SPN_TM_FAIL(c, "an expression is expected here");
    }
}

spn_status spn_tm_eval(tm_context *c, const tm_node *node, tm_value *out) {
    SPN_TRY(spn_tm_enter(c));
    c->line = node->line;
    SPN_TRY(eval_node(c, node, out));
    spn_tm_leave(c);
    return SPN_STATUS_OK;
}
