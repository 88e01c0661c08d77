/* template_member.c - object.name, object[key] and object[from:to:step].
 * SPDX-License-Identifier: Apache-2.0
 *
 * As the sandbox does it: object.name asks for a method first and for a key then, object[key] the
 * other way round; what is not there is undefined and fails only when it is used.
 */
#include "text/template_impl.h"

static spn_status no_member(tm_value object, const tm_string *name, tm_why why, tm_value *out) {
    *out = (tm_value){.kind = TM_UNDEFINED, .why = (uint8_t)why, .owner = object.kind, .s = name};
    return SPN_STATUS_OK;
}

/* What Python's getattr() knows; MISSING when it would raise AttributeError. */
static spn_status python_attr(tm_context *c, tm_value object, const tm_string *name,
                              tm_value *out) {
    const tm_value *found = NULL;
    bool unsafe = false;
    *out = tm_missing();
    if (object.kind == TM_LOOP) return spn_tm_loop_attr(c, object.loop, name, out);
    if (object.kind == TM_CYCLER || object.kind == TM_JOINER)
        return spn_tm_wheel_attr(c, object, name, out);
    if (object.kind == TM_NAMESPACE) found = spn_tm_frame_find(object.ns, name);
    if (found != NULL) *out = *found;
    if (object.kind == TM_MACRO && spn_tm_is_text(name, "name"))
        *out = object.macro->node->text != NULL ? tm_str(object.macro->node->text) : tm_none();
    if (out->kind != TM_MISSING) return SPN_STATUS_OK;
    const tm_builtin *method = spn_tm_find_method(object.kind, name, &unsafe);
    if (unsafe) return no_member(object, name, TM_WHY_UNSAFE, out);
    if (method == NULL) return SPN_STATUS_OK;
    tm_bound *bound = spn_tm_alloc(c, 1, sizeof *bound);
    if (bound == NULL) return SPN_TM_NO_MEMORY(c);
    *bound = (tm_bound){.builtin = method, .self = object};
    *out = (tm_value){.kind = TM_BUILTIN, .bound = bound};
    return SPN_STATUS_OK;
}

spn_status spn_tm_attr(tm_context *c, tm_value object, const tm_string *name, tm_value *out) {
    const tm_value *found = NULL;
    if (object.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, object);
    SPN_TRY(python_attr(c, object, name, out));
    if (out->kind != TM_MISSING) return SPN_STATUS_OK;
    if (object.kind == TM_DICT) SPN_TRY(spn_tm_dict_find(c, object.d, tm_str(name), &found));
    if (found == NULL) return no_member(object, name, TM_WHY_MEMBER, out);
    *out = *found;
    return SPN_STATUS_OK;
}

static spn_status item_of_sequence(tm_context *c, tm_value object, int64_t i, tm_value *out) {
    size_t n;
    SPN_TRY(spn_tm_length(c, object, &n));
    if (i < 0) i += (int64_t)n;
    if (i < 0 || (uint64_t)i >= n) return SPN_STATUS_OK;
    if (object.kind == TM_RANGE) {
        *out = tm_int(object.r->start + object.r->step * i);
    } else if (object.kind == TM_STRING) {
        size_t start = spn_tm_offset(object.s, (size_t)i);
        size_t end = spn_tm_offset(object.s, (size_t)i + 1);
        if (object.s->n_chars != object.s->len) SPN_TRY(spn_tm_step(c, end / 256));
        SPN_TRY(spn_tm_slice_of(c, object.s->data + start, end - start, out));
    } else {
        *out = object.l->items[i];
    }
    return SPN_STATUS_OK;
}

static bool is_indexed(const tm_value *v) {
    return v->kind == TM_STRING || v->kind == TM_LIST || v->kind == TM_TUPLE || v->kind == TM_RANGE;
}

spn_status spn_tm_item(tm_context *c, tm_value object, tm_value key, tm_value *out) {
    tm_value result = tm_missing();
    if (object.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, object);
    if (object.kind == TM_DICT && key.kind != TM_LIST && key.kind != TM_DICT) {
        const tm_value *found;
        SPN_TRY(spn_tm_dict_find(c, object.d, key, &found));
        if (found != NULL) result = *found;
    } else if (is_indexed(&object) && spn_tm_is_int(&key)) {
        SPN_TRY(item_of_sequence(c, object, spn_tm_int_of(&key), &result));
    }
    if (result.kind == TM_MISSING && key.kind == TM_STRING)
        SPN_TRY(python_attr(c, object, key.s, &result));
    if (result.kind == TM_MISSING) {
        const tm_string *name;
        SPN_TRY(spn_tm_str(c, key, &name));
        return no_member(object, name, TM_WHY_MEMBER, out);
    }
    *out = result;
    return SPN_STATUS_OK;
}

/* ---- slices ---- */

typedef struct slice {
    int64_t start, stop, step;
    size_t n;
} slice;

static int64_t clamp_index(int64_t i, int64_t n, int64_t step) {
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (i < 0) i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

/* Python's rules: negative indices count from the end, everything is clamped. */
static slice adjust(const tm_value range[3], size_t length) {
    int64_t n = (int64_t)length;
    int64_t step = range[2].kind == TM_NONE ? 1 : spn_tm_int_of(&range[2]);
    if (step < -INT64_MAX) step = -INT64_MAX;
    int64_t start = step < 0 ? n - 1 : 0, stop = step < 0 ? -1 : n;
    if (range[0].kind != TM_NONE) start = clamp_index(spn_tm_int_of(&range[0]), n, step);
    if (range[1].kind != TM_NONE) stop = clamp_index(spn_tm_int_of(&range[1]), n, step);
    slice s = {.start = start, .stop = stop, .step = step};
    if (step > 0 && start < stop) s.n = (size_t)((stop - start - 1) / step + 1);
    if (step < 0 && stop < start) s.n = (size_t)((start - stop - 1) / -step + 1);
    return s;
}

static spn_status slice_string(tm_context *c, const tm_string *text, slice s, tm_value *out) {
    if (s.step == 1) {
        size_t start = spn_tm_offset(text, (size_t)s.start);
        size_t end = spn_tm_offset(text, (size_t)s.start + s.n);
        return spn_tm_slice_of(c, text->data + start, end - start, out);
    }
    const tm_value *chars;
    size_t n;
    SPN_TRY(spn_tm_iterate(c, tm_str(text), &chars, &n));
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 0; i < s.n && status == SPN_STATUS_OK; i++) {
        const tm_string *one = chars[s.start + s.step * (int64_t)i].s;
        status = spn_tm_put(c, &buf, one->data, one->len);
    }
    return spn_tm_finish(c, &buf, status, out);
}

static spn_status slice_list(tm_context *c, tm_value list, slice s, tm_value *out) {
    if (s.step == 1)
        return spn_tm_list(c, list.kind, s.n > 0 ? list.l->items + s.start : NULL, s.n, out);
    tm_value *items = spn_tm_alloc(c, s.n, sizeof *items);
    if (items == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < s.n; i++) items[i] = list.l->items[s.start + s.step * (int64_t)i];
    SPN_TRY(spn_tm_step(c, s.n / 16));
    return spn_tm_list(c, list.kind, items, s.n, out);
}

static spn_status slice_range(tm_context *c, const tm_range *range, slice s, tm_value *out) {
    tm_range *part = spn_tm_alloc(c, 1, sizeof *part);
    if (part == NULL) return SPN_TM_NO_MEMORY(c);
    *part = (tm_range){.start = range->start + range->step * s.start,
                       .stop = range->start + range->step * s.stop,
                       .step = range->step * s.step,
                       .n = s.n};
    *out = (tm_value){.kind = TM_RANGE, .r = part};
    return SPN_STATUS_OK;
}

spn_status spn_tm_slice(tm_context *c, tm_value object, const tm_value range[3], tm_value *out) {
    size_t length;
    if (object.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, object);
    bool usable = is_indexed(&object);
    for (size_t i = 0; i < 3; i++)
        usable = usable && (range[i].kind == TM_NONE || spn_tm_is_int(&range[i]));
    /* Unlike object[key], a slice that does not work is an error at once. */
    if (!usable)
        return SPN_TM_FAIL(c, "a %s cannot be sliced like this", spn_tm_type_name(&object));
    if (spn_tm_is_int(&range[2]) && spn_tm_int_of(&range[2]) == 0)
        return SPN_TM_FAIL(c, "a slice's step is 0");
    SPN_TRY(spn_tm_length(c, object, &length));
    slice s = adjust(range, length);
    if (object.kind == TM_RANGE) return slice_range(c, object.r, s, out);
    if (object.kind != TM_STRING) return slice_list(c, object, s, out);
    SPN_TRY(slice_string(c, object.s, s, out));
    out->safe = object.safe;
    return SPN_STATUS_OK;
}
