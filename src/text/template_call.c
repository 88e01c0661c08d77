/* template_call.c - calling what can be called; the global functions; loop, cycler, joiner.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "text/template_impl.h"

const tm_builtin *spn_tm_find_builtin(const tm_builtin *rows, size_t n, const tm_string *name) {
    for (size_t i = 0; i < n; i++)
        if (spn_tm_is_text(name, rows[i].name)) return &rows[i];
    return NULL;
}

/* ---- binding arguments to parameters ---- */

/* The place of `name` in "width first blank"; counts the parameters when it is not there. */
static size_t find_param(const char *params, const tm_string *name, bool *found) {
    size_t i = 0;
    *found = false;
    while (*params != '\0') {
        size_t n = strcspn(params, " ");
        if (name != NULL && n == name->len && memcmp(params, name->data, n) == 0) {
            *found = true;
            return i;
        }
        params += n + (params[n] == ' ');
        i++;
    }
    return i;
}

static spn_status bind_args(tm_context *c, const tm_builtin *builtin, const tm_args *args,
                            tm_value slots[SPN_TM_MAX_PARAMS]) {
    bool found;
    size_t n_params = find_param(builtin->params, NULL, &found);
    for (size_t i = 0; i < SPN_TM_MAX_PARAMS; i++) slots[i] = tm_missing();
    if (args->n > n_params)
        return SPN_TM_FAIL(c, "%s takes at most %zu arguments, not %zu", builtin->name, n_params,
                           args->n);
    for (size_t i = 0; i < args->n; i++) slots[i] = args->items[i];
    for (size_t i = 0; i < args->n_named; i++) {
        const tm_string *name = args->names[i];
        size_t at = find_param(builtin->params, name, &found);
        if (!found || slots[at].kind != TM_MISSING)
            return SPN_TM_FAIL(c, "%s takes no argument '%.60s'%s", builtin->name, name->data,
                               found ? " twice" : "");
        slots[at] = args->named[i];
    }
    for (size_t i = 0; i < builtin->n_required; i++)
        if (slots[i].kind == TM_MISSING)
            return SPN_TM_FAIL(c, "%s needs %d or more arguments", builtin->name,
                               builtin->n_required);
    return SPN_STATUS_OK;
}

spn_status spn_tm_call_builtin(tm_context *c, const tm_builtin *builtin, tm_value self,
                               const tm_args *args, tm_value *out) {
    tm_value slots[SPN_TM_MAX_PARAMS];
    tm_call call = {.self = self, .arg = slots, .all = args};
    if (builtin->fn == NULL) return SPN_TM_FAIL(c, "%s is not supported", builtin->name);
    if (builtin->params != NULL) SPN_TRY(bind_args(c, builtin, args, slots));
    SPN_TRY(spn_tm_enter(c));
    SPN_TRY(builtin->fn(c, &call, out));
    spn_tm_leave(c);
    return SPN_STATUS_OK;
}

/* Nothing at the first call, its separator from then on. */
static spn_status call_joiner(tm_context *c, tm_wheel *joiner, tm_value *out) {
    if (joiner->next++ == 0) return spn_tm_text(c, "", out);
    *out = joiner->items[0];
    return SPN_STATUS_OK;
}

spn_status spn_tm_call_value(tm_context *c, tm_value callee, const tm_args *args, tm_value *out) {
    switch (callee.kind) {
    case TM_BUILTIN:
        return spn_tm_call_builtin(c, callee.bound->builtin, callee.bound->self, args, out);
    case TM_MACRO:
        return spn_tm_call_macro(c, callee.macro, args, out);
    case TM_LOOP:
        return spn_tm_call_loop(c, callee.loop, args, out);
    case TM_JOINER:
        return call_joiner(c, callee.wheel, out);
    case TM_UNDEFINED:
        return SPN_TM_UNDEFINED(c, callee);
    default:
        return SPN_TM_FAIL(c, "a %s cannot be called", spn_tm_type_name(&callee));
    }
}

/* ---- reading arguments ---- */

spn_status spn_tm_arg_int(tm_context *c, tm_value arg, int64_t missing, int64_t *out) {
    if (arg.kind != TM_MISSING && !spn_tm_is_int(&arg)) {
        if (arg.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, arg);
        return SPN_TM_FAIL(c, "expected an integer, not a %s", spn_tm_type_name(&arg));
    }
    *out = arg.kind == TM_MISSING ? missing : spn_tm_int_of(&arg);
    return SPN_STATUS_OK;
}

spn_status spn_tm_arg_bool(tm_context *c, tm_value arg, bool *out) {
    return spn_tm_truth(c, arg, out);
}

spn_status spn_tm_arg_string(tm_context *c, tm_value arg, const char *what, const tm_string **out) {
    if (arg.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, arg);
    if (arg.kind != TM_STRING)
        return SPN_TM_FAIL(c, "%s must be a string, not a %s", what, spn_tm_type_name(&arg));
    *out = arg.s;
    return SPN_STATUS_OK;
}

/* ---- global functions ---- */

static spn_status global_range(tm_context *c, const tm_call *call, tm_value *out) {
    int64_t first, stop, step, start = 0;
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 0, &first));
    SPN_TRY(spn_tm_arg_int(c, call->arg[1], first, &stop));
    SPN_TRY(spn_tm_arg_int(c, call->arg[2], 1, &step));
    if (call->arg[1].kind != TM_MISSING) start = first;
    if (step == 0) return SPN_TM_FAIL(c, "range() with a step of 0");
    /* In unsigned numbers, because the distance may exceed 63 bits. */
    uint64_t distance = 0, stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if (step > 0 && start < stop) distance = (uint64_t)stop - (uint64_t)start;
    if (step < 0 && stop < start) distance = (uint64_t)start - (uint64_t)stop;
    /* cppcheck-suppress zerodivcond; step is not 0 here */
    uint64_t n = distance / stride + (distance % stride != 0);
    if (n > SPN_TM_MAX_RANGE)
        return SPN_TM_FAIL(c, "range() of more than %d items", SPN_TM_MAX_RANGE);
    tm_range *range = spn_tm_alloc(c, 1, sizeof *range);
    if (range == NULL) return SPN_TM_NO_MEMORY(c);
    *range = (tm_range){.start = start, .stop = stop, .step = step, .n = (size_t)n};
    *out = (tm_value){.kind = TM_RANGE, .r = range};
    return SPN_STATUS_OK;
}

static spn_status add_pairs(tm_context *c, tm_dict *dict, tm_value from) {
    const tm_value *pairs, *pair;
    size_t n, n_pair;
    if (from.kind == TM_DICT) {
        for (size_t i = 0; i < from.d->n; i++)
            SPN_TRY(spn_tm_dict_set(c, dict, from.d->pairs[i].key, from.d->pairs[i].value));
        return SPN_STATUS_OK;
    }
    SPN_TRY(spn_tm_iterate(c, from, &pairs, &n));
    for (size_t i = 0; i < n; i++) {
        SPN_TRY(spn_tm_iterate(c, pairs[i], &pair, &n_pair));
        if (n_pair != 2) return SPN_TM_FAIL(c, "a dict is made of pairs, not of %zu", n_pair);
        SPN_TRY(spn_tm_dict_set(c, dict, pair[0], pair[1]));
    }
    return SPN_STATUS_OK;
}

static spn_status make_dict(tm_context *c, const tm_args *args, tm_dict **out) {
    if (args->n > 1) return SPN_TM_FAIL(c, "a dict is made of one value, not of %zu", args->n);
    SPN_TRY(spn_tm_dict_new(c, 0, out));
    if (args->n == 1) SPN_TRY(add_pairs(c, *out, args->items[0]));
    for (size_t i = 0; i < args->n_named; i++)
        SPN_TRY(spn_tm_dict_set(c, *out, tm_str(args->names[i]), args->named[i]));
    return SPN_STATUS_OK;
}

static spn_status global_dict(tm_context *c, const tm_call *call, tm_value *out) {
    tm_dict *dict;
    SPN_TRY(make_dict(c, call->all, &dict));
    *out = (tm_value){.kind = TM_DICT, .d = dict};
    return SPN_STATUS_OK;
}

static spn_status global_namespace(tm_context *c, const tm_call *call, tm_value *out) {
    tm_dict *dict;
    SPN_TRY(make_dict(c, call->all, &dict));
    tm_frame *ns = spn_tm_alloc(c, 1, sizeof *ns);
    if (ns == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < dict->n; i++) {
        const tm_string *name;
        SPN_TRY(spn_tm_arg_string(c, dict->pairs[i].key, "a namespace's name", &name));
        SPN_TRY(spn_tm_frame_set(c, ns, name, dict->pairs[i].value));
    }
    *out = (tm_value){.kind = TM_NAMESPACE, .ns = ns};
    return SPN_STATUS_OK;
}

static spn_status make_wheel(tm_context *c, tm_kind kind, const tm_value *items, size_t n,
                             tm_value *out) {
    tm_wheel *wheel = spn_tm_alloc(c, 1, sizeof *wheel);
    tm_value *copy = spn_tm_alloc(c, n, sizeof *copy);
    if (wheel == NULL || copy == NULL) return SPN_TM_NO_MEMORY(c);
    if (n > 0) memcpy(copy, items, n * sizeof *copy);
    *wheel = (tm_wheel){.items = copy, .n = n};
    *out = (tm_value){.kind = (uint8_t)kind, .wheel = wheel};
    return SPN_STATUS_OK;
}

static spn_status global_cycler(tm_context *c, const tm_call *call, tm_value *out) {
    if (call->all->n == 0 || call->all->n_named > 0)
        return SPN_TM_FAIL(c, "cycler() needs something to cycle through");
    return make_wheel(c, TM_CYCLER, call->all->items, call->all->n, out);
}

static spn_status global_joiner(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value separator = call->arg[0];
    if (separator.kind == TM_MISSING) SPN_TRY(spn_tm_text(c, ", ", &separator));
    return make_wheel(c, TM_JOINER, &separator, 1, out);
}

static spn_status global_raise(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *text;
    (void)out;
    SPN_TRY(spn_tm_str(c, call->arg[0], &text));
    return SPN_TM_FAIL(c, "%.*s", (int)spn_min_size(text->len, 400), text->data);
}

static spn_status global_strftime(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *format;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "strftime_now's format", &format));
    return spn_tm_strftime(c, format, out);
}

spn_status spn_tm_add_globals(tm_context *c, tm_frame *frame) {
    static const tm_builtin rows[] = {
        {"range", "start stop step", 1, global_range},
        {"dict", NULL, 0, global_dict},
        {"namespace", NULL, 0, global_namespace},
        {"cycler", NULL, 0, global_cycler},
        {"joiner", "sep", 0, global_joiner},
        {"lipsum", NULL, 0, NULL},
        {"raise_exception", "message", 1, global_raise},
        {"strftime_now", "format", 1, global_strftime},
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        tm_bound *bound = spn_tm_alloc(c, 1, sizeof *bound);
        tm_value name;
        if (bound == NULL) return SPN_TM_NO_MEMORY(c);
        bound->builtin = &rows[i];
        SPN_TRY(spn_tm_text(c, rows[i].name, &name));
        SPN_TRY(spn_tm_frame_set(c, frame, name.s, (tm_value){.kind = TM_BUILTIN, .bound = bound}));
    }
    return SPN_STATUS_OK;
}

/* ---- cycler ---- */

static spn_status cycler_next(tm_context *c, const tm_call *call, tm_value *out) {
    tm_wheel *wheel = call->self.wheel;
    (void)c;
    *out = wheel->items[wheel->next];
    wheel->next = (wheel->next + 1) % wheel->n;
    return SPN_STATUS_OK;
}

static spn_status cycler_reset(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    call->self.wheel->next = 0;
    *out = tm_none();
    return SPN_STATUS_OK;
}

static spn_status bind_to(tm_context *c, const tm_builtin *builtin, tm_value self, tm_value *out) {
    tm_bound *bound = spn_tm_alloc(c, 1, sizeof *bound);
    if (bound == NULL) return SPN_TM_NO_MEMORY(c);
    *bound = (tm_bound){.builtin = builtin, .self = self};
    *out = (tm_value){.kind = TM_BUILTIN, .bound = bound};
    return SPN_STATUS_OK;
}

spn_status spn_tm_wheel_attr(tm_context *c, tm_value wheel, const tm_string *name, tm_value *out) {
    static const tm_builtin methods[] = {{"next", "", 0, cycler_next},
                                         {"reset", "", 0, cycler_reset}};
    if (wheel.kind != TM_CYCLER) return SPN_STATUS_OK;
    const tm_builtin *method = spn_tm_find_builtin(methods, SPN_COUNT(methods), name);
    if (spn_tm_is_text(name, "current")) *out = wheel.wheel->items[wheel.wheel->next];
    return method != NULL ? bind_to(c, method, wheel, out) : SPN_STATUS_OK;
}

/* ---- loop ---- */

static spn_status loop_cycle(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_args *args = call->all;
    if (args->n == 0) return SPN_TM_FAIL(c, "loop.cycle() needs something to cycle through");
    *out = args->items[(call->self.loop->n_taken - 1) % args->n];
    return SPN_STATUS_OK;
}

/* Whether the arguments differ from those of the last call. */
static spn_status loop_changed(tm_context *c, const tm_call *call, tm_value *out) {
    tm_loop *loop = call->self.loop;
    tm_value *copy = spn_tm_alloc(c, call->all->n, sizeof *copy), now;
    bool same = false;
    if (copy == NULL) return SPN_TM_NO_MEMORY(c);
    if (call->all->n > 0) memcpy(copy, call->all->items, call->all->n * sizeof *copy);
    SPN_TRY(spn_tm_list(c, TM_TUPLE, copy, call->all->n, &now));
    if (loop->last_changed != NULL) {
        tm_value last = {.kind = TM_TUPLE, .l = loop->last_changed};
        SPN_TRY(spn_tm_equal(c, last, now, &same));
    }
    if (!same) loop->last_changed = now.l;
    *out = tm_bool(!same);
    return SPN_STATUS_OK;
}

typedef enum loop_part {
    LOOP_INDEX,
    LOOP_INDEX0,
    LOOP_FIRST,
    LOOP_LAST,
    LOOP_LENGTH,
    LOOP_REVINDEX,
    LOOP_REVINDEX0,
    LOOP_PREVITEM,
    LOOP_NEXTITEM,
    LOOP_DEPTH,
    LOOP_DEPTH0,
} loop_part;

static spn_status loop_length(tm_context *c, tm_loop *loop, int64_t *out) {
    for (bool more = true; more;) SPN_TRY(spn_tm_loop_peek(c, loop, SIZE_MAX, &more));
    *out = (int64_t)loop->n_passed;
    return SPN_STATUS_OK;
}

static spn_status loop_value(tm_context *c, tm_loop *loop, loop_part part, tm_value *out) {
    int64_t index = (int64_t)loop->n_taken, length = 0;
    bool more = false;
    if (part == LOOP_LENGTH || part == LOOP_REVINDEX || part == LOOP_REVINDEX0)
        SPN_TRY(loop_length(c, loop, &length));
    if (part == LOOP_LAST || part == LOOP_NEXTITEM)
        SPN_TRY(spn_tm_loop_peek(c, loop, loop->n_taken, &more));
    switch (part) {
    case LOOP_INDEX:
        *out = tm_int(index);
        break;
    case LOOP_INDEX0:
        *out = tm_int(index - 1);
        break;
    case LOOP_FIRST:
        *out = tm_bool(index == 1);
        break;
    case LOOP_LAST:
        *out = tm_bool(!more);
        break;
    case LOOP_LENGTH:
        *out = tm_int(length);
        break;
    case LOOP_REVINDEX:
        *out = tm_int(length - index + 1);
        break;
    case LOOP_REVINDEX0:
        *out = tm_int(length - index);
        break;
    case LOOP_DEPTH:
        *out = tm_int((int64_t)loop->depth0 + 1);
        break;
    case LOOP_DEPTH0:
        *out = tm_int((int64_t)loop->depth0);
        break;
    case LOOP_PREVITEM:
        if (index < 2) return spn_tm_undefined(c, "there is no previous item", out);
        *out = loop->passed[index - 2];
        break;
    case LOOP_NEXTITEM:
        if (!more) return spn_tm_undefined(c, "there is no next item", out);
        *out = loop->passed[index];
        break;
    }
    return SPN_STATUS_OK;
}

spn_status spn_tm_loop_attr(tm_context *c, tm_loop *loop, const tm_string *name, tm_value *out) {
    static const struct {
        const char *name;
        loop_part part;
    } parts[] = {
        {"index", LOOP_INDEX},         {"index0", LOOP_INDEX0},     {"first", LOOP_FIRST},
        {"last", LOOP_LAST},           {"length", LOOP_LENGTH},     {"revindex", LOOP_REVINDEX},
        {"revindex0", LOOP_REVINDEX0}, {"previtem", LOOP_PREVITEM}, {"nextitem", LOOP_NEXTITEM},
        {"depth", LOOP_DEPTH},         {"depth0", LOOP_DEPTH0},
    };
    static const tm_builtin methods[] = {{"cycle", NULL, 0, loop_cycle},
                                         {"changed", NULL, 0, loop_changed}};
    for (size_t i = 0; i < SPN_COUNT(parts); i++)
        if (spn_tm_is_text(name, parts[i].name)) return loop_value(c, loop, parts[i].part, out);
    const tm_builtin *method = spn_tm_find_builtin(methods, SPN_COUNT(methods), name);
    if (method == NULL) return SPN_STATUS_OK;
    return bind_to(c, method, (tm_value){.kind = TM_LOOP, .loop = loop}, out);
}
