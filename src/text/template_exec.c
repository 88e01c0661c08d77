/* template_exec.c - running statements: output, scopes, loops, macros.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Scopes follow Jinja: loops, macros, captured and filtered blocks open one, if does not. What a
 * loop's body sets is gone in the next round; a namespace is the way to carry it on.
 *
 * A failure leaves the context's state (frame, output, depth) as it is: nothing is rendered after
 * it.
 */
#include "text/template_impl.h"

/* ---- scopes ---- */

static spn_status push_frame(tm_context *c, tm_frame *parent, tm_frame **out) {
    tm_frame *frame = spn_tm_alloc(c, 1, sizeof *frame);
    if (frame == NULL) return SPN_TM_NO_MEMORY(c);
    frame->parent = parent;
    *out = frame;
    return SPN_STATUS_OK;
}

/* A fresh scope: the given one emptied, unless a macro needs it. */
static spn_status renew_frame(tm_context *c, tm_frame **frame) {
    if ((*frame)->kept) return push_frame(c, (*frame)->parent, frame);
    (*frame)->n = 0;
    return SPN_STATUS_OK;
}

static spn_status exec_scoped(tm_context *c, const tm_node *body) {
    tm_frame *outer = c->frame;
    SPN_TRY(push_frame(c, outer, &c->frame));
    SPN_TRY(spn_tm_exec(c, body));
    c->frame = outer;
    return SPN_STATUS_OK;
}

/* Runs `body` in the current scope and gives its output as a string. */
static spn_status capture(tm_context *c, const tm_node *body, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    spn_buf *outer = c->out;
    c->out = &buf;
    spn_status status = spn_tm_exec(c, body);
    c->out = outer;
    return spn_tm_finish(c, &buf, status, out);
}

static spn_status capture_scoped(tm_context *c, const tm_node *body, tm_value *out) {
    tm_frame *outer = c->frame;
    SPN_TRY(push_frame(c, outer, &c->frame));
    SPN_TRY(capture(c, body, out));
    c->frame = outer;
    return SPN_STATUS_OK;
}

/* ---- assigning ---- */

static spn_status assign_member(tm_context *c, const tm_node *target, tm_value value) {
    tm_value ns;
    SPN_TRY(spn_tm_eval(c, target->a, &ns));
    if (ns.kind != TM_NAMESPACE)
        return SPN_TM_FAIL(c, "'%.60s' is no namespace, so nothing can be set in it",
                           target->a->text->data);
    return spn_tm_frame_set(c, ns.ns, target->text, value);
}

static spn_status assign(tm_context *c, const tm_node *target, tm_value value) {
    const tm_value *items;
    size_t n;
    if (target->kind == TM_N_NAME) return spn_tm_frame_set(c, c->frame, target->text, value);
    if (target->kind == TM_N_MEMBER) return assign_member(c, target, value);
    SPN_TRY(spn_tm_iterate(c, value, &items, &n));
    if (n != target->n)
        return SPN_TM_FAIL(c, "%zu values do not fit %u names", n, (unsigned)target->n);
    for (size_t i = 0; i < n; i++) SPN_TRY(assign(c, target->list[i], items[i]));
    return SPN_STATUS_OK;
}

static spn_status exec_set(tm_context *c, const tm_node *n) {
    tm_value value;
    SPN_TRY(spn_tm_eval(c, n->b, &value));
    c->line = n->line;
    return assign(c, n->a, value);
}

/* Through the filters of a block, if it has any. */
static spn_status filtered(tm_context *c, const tm_node *filters, tm_value *value) {
    if (filters == NULL) return SPN_STATUS_OK;
    tm_value outer = c->subject;
    c->subject = *value;
    SPN_TRY(spn_tm_eval(c, filters, value));
    c->subject = outer;
    return SPN_STATUS_OK;
}

static spn_status exec_capture(tm_context *c, const tm_node *n) {
    tm_value value;
    SPN_TRY(capture_scoped(c, n->d, &value));
    SPN_TRY(filtered(c, n->b, &value));
    c->line = n->line;
    return assign(c, n->a, value);
}

static spn_status exec_filtered(tm_context *c, const tm_node *n) {
    tm_value value;
    SPN_TRY(capture_scoped(c, n->d, &value));
    SPN_TRY(filtered(c, n->b, &value));
    return spn_tm_put_str(c, c->out, value);
}

static spn_status exec_with(tm_context *c, const tm_node *n) {
    tm_frame *outer = c->frame, *inner;
    SPN_TRY(push_frame(c, outer, &inner));
    for (uint32_t i = 0; i + 1 < n->n; i += 2) {
        tm_value value;
        c->frame = outer; /* the values do not see each other */
        SPN_TRY(spn_tm_eval(c, n->list[i + 1], &value));
        c->frame = inner;
        SPN_TRY(assign(c, n->list[i], value));
    }
    c->frame = inner;
    SPN_TRY(spn_tm_exec(c, n->d));
    c->frame = outer;
    return SPN_STATUS_OK;
}

/* ---- loops ---- */

static spn_status passes_filter(tm_context *c, tm_loop *loop, tm_value item, bool *out) {
    tm_frame *outer = c->frame;
    tm_value result;
    *out = true;
    if (loop->node->c == NULL) return SPN_STATUS_OK;
    if (loop->filter_frame == NULL) SPN_TRY(push_frame(c, loop->outer, &loop->filter_frame));
    loop->filter_frame->n = 0;
    c->frame = loop->filter_frame;
    SPN_TRY(assign(c, loop->node->a, item));
    SPN_TRY(spn_tm_eval(c, loop->node->c, &result));
    c->frame = outer;
    return spn_tm_truth(c, result, out);
}

spn_status spn_tm_loop_peek(tm_context *c, tm_loop *loop, size_t i, bool *out) {
    while (loop->n_passed <= i && loop->next < loop->n_items) {
        tm_value item = loop->items[loop->next++];
        bool passes;
        SPN_TRY(passes_filter(c, loop, item, &passes));
        if (passes) loop->passed[loop->n_passed++] = item;
    }
    *out = loop->n_passed > i;
    return SPN_STATUS_OK;
}

static spn_status run_loop(tm_context *c, tm_loop *loop) {
    static const tm_string loop_name = {.data = "loop", .len = 4, .n_chars = 4};
    const tm_node *n = loop->node;
    tm_frame *outer = c->frame, *frame;
    bool more;
    SPN_TRY(push_frame(c, loop->outer, &frame));
    for (;;) {
        SPN_TRY(spn_tm_loop_peek(c, loop, loop->n_taken, &more));
        if (!more) break;
        tm_value item = loop->passed[loop->n_taken++];
        SPN_TRY(renew_frame(c, &frame));
        c->frame = frame;
        tm_value self = {.kind = TM_LOOP, .loop = loop};
        SPN_TRY(spn_tm_frame_set(c, frame, &loop_name, self));
        SPN_TRY(assign(c, n->a, item));
        SPN_TRY(spn_tm_exec(c, n->d));
        c->frame = outer;
        tm_flow flow = c->flow;
        c->flow = TM_FLOW_NONE;
        /* As in Jinja a round that break or continue cuts short does not keep `else` away. */
        if (flow == TM_FLOW_NONE) loop->finished = true;
        if (flow == TM_FLOW_BREAK) break;
    }
    return SPN_STATUS_OK;
}

static spn_status loop_over(tm_context *c, const tm_node *n, tm_frame *outer, tm_value value,
                            unsigned depth0) {
    tm_loop *loop = spn_tm_alloc(c, 1, sizeof *loop);
    if (loop == NULL) return SPN_TM_NO_MEMORY(c);
    *loop = (tm_loop){.node = n, .outer = outer, .depth0 = depth0};
    SPN_TRY(spn_tm_iterate(c, value, &loop->items, &loop->n_items));
    loop->passed = spn_tm_alloc(c, loop->n_items, sizeof *loop->passed);
    if (loop->passed == NULL) return SPN_TM_NO_MEMORY(c);
    SPN_TRY(run_loop(c, loop));
    if (loop->finished || n->e == NULL) return SPN_STATUS_OK;
    return exec_scoped(c, n->e);
}

static spn_status exec_for(tm_context *c, const tm_node *n) {
    tm_value value;
    SPN_TRY(spn_tm_eval(c, n->b, &value));
    c->line = n->line;
    return loop_over(c, n, c->frame, value, 0);
}

/* loop(items) of a recursive loop: its body again, as a string. */
spn_status spn_tm_call_loop(tm_context *c, const tm_loop *loop, const tm_args *args,
                            tm_value *out) {
    if (!loop->node->flag) return SPN_TM_FAIL(c, "a loop that is called must be 'recursive'");
    if (args->n != 1 || args->n_named > 0)
        return SPN_TM_FAIL(c, "loop() needs one argument, the items");
    spn_buf buf = SPN_BUF(0);
    spn_buf *outer = c->out;
    SPN_TRY(spn_tm_enter(c));
    c->out = &buf;
    spn_status status = loop_over(c, loop->node, loop->outer, args->items[0], loop->depth0 + 1);
    c->out = outer;
    spn_tm_leave(c);
    return spn_tm_finish(c, &buf, status, out);
}

/* ---- macros ---- */

/* A value of kind MACRO that remembers the current scope. */
static spn_status make_macro(tm_context *c, const tm_node *n, tm_value *out) {
    tm_macro *macro = spn_tm_alloc(c, 1, sizeof *macro);
    if (macro == NULL) return SPN_TM_NO_MEMORY(c);
    *macro = (tm_macro){.node = n, .frame = c->frame};
    for (tm_frame *frame = c->frame; frame != NULL && !frame->kept; frame = frame->parent)
        frame->kept = true;
    *out = (tm_value){.kind = TM_MACRO, .macro = macro};
    return SPN_STATUS_OK;
}

static const tm_string caller_name = {.data = "caller", .len = 6, .n_chars = 6};
static const tm_string varargs_name = {.data = "varargs", .len = 7, .n_chars = 7};
static const tm_string kwargs_name = {.data = "kwargs", .len = 6, .n_chars = 6};

/* A parameter's argument: by place, by name (then *used is marked), else MISSING. */
static tm_value argument_of(const tm_args *args, uint32_t place, const tm_string *name,
                            bool *used) {
    if (place < args->n) return args->items[place];
    for (size_t i = 0; i < args->n_named; i++) {
        if (used[i] || !spn_tm_same_text(args->names[i], name)) continue;
        used[i] = true;
        return args->named[i];
    }
    return tm_missing();
}

static spn_status bind_param(tm_context *c, const tm_node *param, tm_value value) {
    if (value.kind == TM_MISSING && param->a != NULL) {
        SPN_TRY(spn_tm_eval(c, param->a, &value));
    } else if (value.kind == TM_MISSING) {
        value = (tm_value){.kind = TM_UNDEFINED, .why = TM_WHY_NAME, .s = param->text};
    }
    return spn_tm_frame_set(c, c->frame, param->text, value);
}

/* Arguments that no parameter takes: varargs, kwargs and caller where the body uses them. */
static spn_status bind_rest(tm_context *c, const tm_node *n, const tm_args *args, bool *used) {
    const char *name = n->text != NULL ? n->text->data : "caller";
    if (n->catches & TM_CATCH_CALLER) {
        tm_value caller = argument_of(args, UINT32_MAX, &caller_name, used);
        if (caller.kind == TM_MISSING)
            caller = (tm_value){.kind = TM_UNDEFINED, .why = TM_WHY_NAME, .s = &caller_name};
        if (spn_tm_frame_find(c->frame, &caller_name) == NULL)
            SPN_TRY(spn_tm_frame_set(c, c->frame, &caller_name, caller));
    }
    tm_dict *kwargs;
    SPN_TRY(spn_tm_dict_new(c, args->n_named, &kwargs));
    for (size_t i = 0; i < args->n_named; i++) {
        if (used[i]) continue;
        if (!(n->catches & TM_CATCH_KWARGS))
            return SPN_TM_FAIL(c, "macro '%.60s' takes no argument '%.60s'", name,
                               args->names[i]->data);
        SPN_TRY(spn_tm_dict_add(c, kwargs, tm_str(args->names[i]), args->named[i]));
    }
    if (n->catches & TM_CATCH_KWARGS) {
        tm_value value = {.kind = TM_DICT, .d = kwargs};
        SPN_TRY(spn_tm_frame_set(c, c->frame, &kwargs_name, value));
    }
    size_t n_rest = args->n > n->n ? args->n - n->n : 0;
    if (!(n->catches & TM_CATCH_VARARGS)) {
        if (n_rest == 0) return SPN_STATUS_OK;
        return SPN_TM_FAIL(c, "macro '%.60s' takes at most %u arguments", name, (unsigned)n->n);
    }
    tm_value rest;
    SPN_TRY(spn_tm_list(c, TM_TUPLE, n_rest > 0 ? args->items + n->n : NULL, n_rest, &rest));
    return spn_tm_frame_set(c, c->frame, &varargs_name, rest);
}

spn_status spn_tm_call_macro(tm_context *c, const tm_macro *macro, const tm_args *args,
                             tm_value *out) {
    const tm_node *n = macro->node;
    tm_frame *outer = c->frame;
    uint32_t line = c->line;
    bool *used = spn_tm_alloc(c, args->n_named, sizeof *used);
    if (used == NULL) return SPN_TM_NO_MEMORY(c);
    SPN_TRY(spn_tm_enter(c));
    SPN_TRY(push_frame(c, macro->frame, &c->frame));
    for (uint32_t i = 0; i < n->n; i++) {
        tm_value value = argument_of(args, i, n->list[i]->text, used);
        SPN_TRY(bind_param(c, n->list[i], value));
    }
    SPN_TRY(bind_rest(c, n, args, used));
    SPN_TRY(capture(c, n->d, out));
    c->frame = outer;
    c->line = line;
    spn_tm_leave(c);
    return SPN_STATUS_OK;
}

static spn_status exec_macro(tm_context *c, const tm_node *n) {
    tm_value macro;
    SPN_TRY(make_macro(c, n, &macro));
    return spn_tm_frame_set(c, c->frame, n->text, macro);
}

/* {% call(x) f(y) %}body{% endcall %}: f with the body as its `caller`. */
static spn_status exec_call_block(tm_context *c, const tm_node *n) {
    tm_value callee, caller, result;
    tm_args args;
    SPN_TRY(make_macro(c, n, &caller));
    SPN_TRY(spn_tm_eval(c, n->a->a, &callee));
    SPN_TRY(spn_tm_eval_args(c, n->a, &args));
    c->line = n->line;
    const tm_string **names = spn_tm_alloc(c, args.n_named + 1, sizeof *names);
    tm_value *named = spn_tm_alloc(c, args.n_named + 1, sizeof *named);
    if (names == NULL || named == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < args.n_named; i++) {
        names[i] = args.names[i];
        named[i] = args.named[i];
    }
    names[args.n_named] = &caller_name;
    named[args.n_named] = caller;
    args.names = names;
    args.named = named;
    args.n_named++;
    SPN_TRY(spn_tm_call_value(c, callee, &args, &result));
    return spn_tm_put_str(c, c->out, result);
}

/* ---- all statements ---- */

static spn_status exec_print(tm_context *c, const tm_node *n) {
    for (uint32_t i = 0; i < n->n; i++) {
        tm_value value;
        SPN_TRY(spn_tm_eval(c, n->list[i], &value));
        c->line = n->line;
        SPN_TRY(spn_tm_put_str(c, c->out, value));
    }
    return SPN_STATUS_OK;
}

static spn_status exec_if(tm_context *c, const tm_node *n) {
    for (uint32_t i = 0; i < n->n; i++) {
        const tm_node *branch = n->list[i];
        bool truth = true;
        if (branch->a != NULL) {
            tm_value test;
            SPN_TRY(spn_tm_eval(c, branch->a, &test));
            SPN_TRY(spn_tm_truth(c, test, &truth));
        }
        if (truth) return spn_tm_exec(c, branch->b);
    }
    return SPN_STATUS_OK;
}

static spn_status exec_block(tm_context *c, const tm_node *n) {
    for (uint32_t i = 0; i < n->n && c->flow == TM_FLOW_NONE; i++)
        SPN_TRY(spn_tm_exec(c, n->list[i]));
    return SPN_STATUS_OK;
}

static spn_status exec_node(tm_context *c, const tm_node *n) {
    switch (n->kind) {
    case TM_N_BLOCK:
        return exec_block(c, n);
    case TM_N_DATA:
        return spn_tm_put(c, c->out, n->text->data, n->text->len);
    case TM_N_PRINT:
        return exec_print(c, n);
    case TM_N_IF:
        return exec_if(c, n);
    case TM_N_FOR:
        return exec_for(c, n);
    case TM_N_SET:
        return exec_set(c, n);
    case TM_N_CAPTURE:
        return exec_capture(c, n);
    case TM_N_FILTERED:
        return exec_filtered(c, n);
    case TM_N_MACRO:
        return exec_macro(c, n);
    case TM_N_CALLER:
        return exec_call_block(c, n);
    case TM_N_WITH:
        return exec_with(c, n);
    case TM_N_SCOPE:
        return exec_scoped(c, n->d);
    case TM_N_BREAK:
        c->flow = TM_FLOW_BREAK;
        return SPN_STATUS_OK;
    case TM_N_CONTINUE:
        c->flow = TM_FLOW_CONTINUE;
        return SPN_STATUS_OK;
    default:
        return SPN_TM_FAIL(c, "a statement is expected here");
    }
}

spn_status spn_tm_exec(tm_context *c, const tm_node *node) {
    SPN_TRY(spn_tm_enter(c));
    c->line = node->line;
    SPN_TRY(exec_node(c, node));
    spn_tm_leave(c);
    return SPN_STATUS_OK;
}
