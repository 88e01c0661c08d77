/* template_ops.c - what Python's operators do with values. SPDX-License-Identifier: Apache-2.0
 *
 * Integers are 64 bits wide; where Python's would grow beyond that, rendering fails.
 */
#include <assert.h>
#include <math.h>

#include "text/template_impl.h"

/* ---- finding ---- */

/* Steps are charged for the work that is really done, which bounds the quadratic worst case. */
spn_status spn_tm_find(tm_context *c, const tm_string *text, const tm_string *part, size_t from,
                       size_t *out) {
    size_t n_tried = 0;
    *out = SIZE_MAX;
    if (part->len > text->len) return SPN_STATUS_OK;
    size_t last = text->len - part->len;
    for (size_t at = from; at <= last && *out == SIZE_MAX; at++, n_tried++) {
        if (part->len > 0) {
            const char *hit = memchr(text->data + at, part->data[0], last - at + 1);
            if (hit == NULL) break;
            at = (size_t)(hit - text->data);
        }
        if (memcmp(text->data + at, part->data, part->len) == 0) *out = at;
    }
    size_t n_bytes = text->len - spn_min_size(from, text->len);
    return spn_tm_step(c, n_tried / 16 * (1 + part->len / 64) + n_bytes / 1024);
}

/* ---- equality and order ---- */

static spn_status walk_deeper(tm_context *c) {
    if (++c->n_walked > SPN_TM_MAX_VALUE_DEPTH)
        return SPN_TM_FAIL(c, "a value is nested deeper than %d", SPN_TM_MAX_VALUE_DEPTH);
    return spn_tm_step(c, 1);
}

static spn_status equal_items(tm_context *c, const tm_list *a, const tm_list *b, bool *out) {
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++)
        SPN_TRY(spn_tm_equal(c, a->items[i], b->items[i], out));
    return SPN_STATUS_OK;
}

static spn_status equal_dicts(tm_context *c, const tm_dict *a, tm_dict *b, bool *out) {
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        const tm_value *other;
        SPN_TRY(spn_tm_dict_find(c, b, a->pairs[i].key, &other));
        *out = other != NULL;
        if (other != NULL) SPN_TRY(spn_tm_equal(c, a->pairs[i].value, *other, out));
    }
    return SPN_STATUS_OK;
}

static spn_status equal_same_kind(tm_context *c, tm_value a, tm_value b, bool *out) {
    switch (a.kind) {
    case TM_STRING:
        *out = spn_tm_same_text(a.s, b.s);
        return SPN_STATUS_OK;
    case TM_LIST:
    case TM_TUPLE:
        return equal_items(c, a.l, b.l, out);
    case TM_DICT:
        return equal_dicts(c, a.d, b.d, out);
    case TM_RANGE:
        *out = a.r->n == b.r->n && (a.r->n == 0 || a.r->start == b.r->start) &&
               (a.r->n < 2 || a.r->step == b.r->step);
        return SPN_STATUS_OK;
    case TM_MISSING:
    case TM_UNDEFINED:
    case TM_NONE:
        *out = true;
        return SPN_STATUS_OK;
    default:
        *out = a.ns == b.ns;
        return SPN_STATUS_OK; /* the same object */
    }
}

static bool equal_numbers(tm_value a, tm_value b) {
    if (spn_tm_is_int(&a) && spn_tm_is_int(&b)) return spn_tm_int_of(&a) == spn_tm_int_of(&b);
    return spn_tm_float_of(&a) == spn_tm_float_of(&b);
}

spn_status spn_tm_equal(tm_context *c, tm_value a, tm_value b, bool *out) {
    *out = false;
    if (spn_tm_is_number(&a) && spn_tm_is_number(&b)) {
        *out = equal_numbers(a, b);
        return SPN_STATUS_OK;
    }
    if (a.kind != b.kind) return SPN_STATUS_OK;
    SPN_TRY(walk_deeper(c));
    SPN_TRY(equal_same_kind(c, a, b, out));
    c->n_walked--;
    return SPN_STATUS_OK;
}

static spn_status less_items(tm_context *c, const tm_list *a, const tm_list *b, bool *out) {
    size_t n = spn_min_size(a->n, b->n), i = 0;
    for (bool same = true; i < n; i++) {
        SPN_TRY(spn_tm_equal(c, a->items[i], b->items[i], &same));
        if (!same) break;
    }
    if (i < n) return spn_tm_less(c, a->items[i], b->items[i], out);
    *out = a->n < b->n;
    return SPN_STATUS_OK;
}

spn_status spn_tm_less(tm_context *c, tm_value a, tm_value b, bool *out) {
    if (a.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, a);
    if (b.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, b);
    if (spn_tm_is_number(&a) && spn_tm_is_number(&b)) {
        if (spn_tm_is_int(&a) && spn_tm_is_int(&b))
            *out = spn_tm_int_of(&a) < spn_tm_int_of(&b);
        else
            *out = spn_tm_float_of(&a) < spn_tm_float_of(&b);
        return SPN_STATUS_OK;
    }
    if (a.kind == TM_STRING && b.kind == TM_STRING) {
        /* Bytes of UTF-8 are in the order of their characters. */
        int order = memcmp(a.s->data, b.s->data, spn_min_size(a.s->len, b.s->len));
        *out = order < 0 || (order == 0 && a.s->len < b.s->len);
        return spn_tm_step(c, 1);
    }
    if (a.kind != b.kind || (a.kind != TM_LIST && a.kind != TM_TUPLE))
        return SPN_TM_FAIL(c, "a %s and a %s have no order", spn_tm_type_name(&a),
                           spn_tm_type_name(&b));
    SPN_TRY(walk_deeper(c));
    SPN_TRY(less_items(c, a.l, b.l, out));
    c->n_walked--;
    return SPN_STATUS_OK;
}

static bool is_nan(const tm_value *v) { return v->kind == TM_FLOAT && isnan(v->f); }

spn_status spn_tm_compare(tm_context *c, tm_op op, tm_value a, tm_value b, bool *out) {
    bool result;
    switch (op) {
    case TM_IN:
        return spn_tm_contains(c, b, a, out);
    case TM_NOT_IN:
        SPN_TRY(spn_tm_contains(c, b, a, &result));
        break;
    case TM_EQ:
        return spn_tm_equal(c, a, b, out);
    case TM_NE:
        SPN_TRY(spn_tm_equal(c, a, b, &result));
        break;
    case TM_LT:
        return spn_tm_less(c, a, b, out);
    case TM_GT:
        return spn_tm_less(c, b, a, out);
    case TM_LE:
        SPN_TRY(spn_tm_less(c, b, a, &result));
        break;
    default:
        SPN_TRY(spn_tm_less(c, a, b, &result));
        break; /* GE */
    }
    if ((op == TM_LE || op == TM_GE) && (is_nan(&a) || is_nan(&b))) result = true;
    *out = !result;
    return SPN_STATUS_OK;
}

static spn_status contains_item(tm_context *c, const tm_value *items, size_t n, tm_value item,
                                bool *out, size_t *n_seen) {
    *out = false;
    size_t i = 0;
    assert(items != NULL || n == 0);
    while (i < n && !*out) SPN_TRY(spn_tm_equal(c, items[i++], item, out));
    *n_seen = i;
    return spn_tm_step(c, i / 4);
}

spn_status spn_tm_contains(tm_context *c, tm_value container, tm_value item, bool *out) {
    const tm_value *items, *found;
    size_t n;
    switch (container.kind) {
    case TM_STRING:
        if (item.kind != TM_STRING)
            return SPN_TM_FAIL(c, "a %s cannot be in a string", spn_tm_type_name(&item));
        SPN_TRY(spn_tm_find(c, container.s, item.s, 0, &n));
        *out = n != SIZE_MAX;
        return SPN_STATUS_OK;
    case TM_DICT:
        SPN_TRY(spn_tm_dict_find(c, container.d, item, &found));
        *out = found != NULL;
        return SPN_STATUS_OK;
    case TM_ITERATOR: /* walks only as far as it must */
        items = container.iter->items;
        if (items != NULL) items += container.iter->next;
        SPN_TRY(contains_item(c, items, container.iter->n - container.iter->next, item, out, &n));
        container.iter->next += n;
        return SPN_STATUS_OK;
    default:
        SPN_TRY(spn_tm_iterate(c, container, &items, &n));
        return contains_item(c, items, n, item, out, &n);
    }
}

/* ---- arithmetic ---- */

static spn_status bad_operands(tm_context *c, const char *op, const tm_value *a,
                               const tm_value *b) {
    if (a->kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, *a);
    if (b->kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, *b);
    return SPN_TM_FAIL(c, "'%s' does not work between a %s and a %s", op, spn_tm_type_name(a),
                       spn_tm_type_name(b));
}

static spn_status too_large(tm_context *c) {
    return SPN_TM_FAIL(c, "an integer does not fit into 64 bits");
}

static spn_status power(tm_context *c, int64_t base, int64_t exponent, tm_value *out) {
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0) return SPN_TM_FAIL(c, "division by zero");
        *out = tm_float(pow((double)base, (double)exponent));
        return SPN_STATUS_OK;
    }
    if (base == 0 || base == 1 || base == -1) {
        *out = tm_int(exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base);
        return SPN_STATUS_OK;
    }
    for (int64_t i = 0; i < exponent; i++) /* at most 63 rounds: |base| is at least 2 */
        if (__builtin_mul_overflow(result, base, &result)) return too_large(c);
    *out = tm_int(result);
    return SPN_STATUS_OK;
}

/* Rounds towards minus infinity, as Python. */
static spn_status divide_ints(tm_context *c, tm_op op, int64_t a, int64_t b, tm_value *out) {
    if (b == 0) return SPN_TM_FAIL(c, "division by zero");
    if (op == TM_DIV) {
        *out = tm_float((double)a / (double)b);
        return SPN_STATUS_OK;
    }
    if (b == -1) { /* INT64_MIN / -1 overflows */
        if (op == TM_FLOORDIV && a == INT64_MIN) return too_large(c);
        *out = tm_int(op == TM_FLOORDIV ? -a : 0);
        return SPN_STATUS_OK;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = tm_int(op == TM_FLOORDIV ? quotient : rest);
    return SPN_STATUS_OK;
}

static spn_status int_op(tm_context *c, tm_op op, int64_t a, int64_t b, tm_value *out) {
    int64_t result;
    bool overflow;
    switch (op) {
    case TM_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case TM_SUB:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case TM_MUL:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case TM_POW:
        return power(c, a, b, out);
    default:
        return divide_ints(c, op, a, b, out);
    }
    if (overflow) return too_large(c);
    *out = tm_int(result);
    return SPN_STATUS_OK;
}

/* Python's float modulo takes the divisor's sign, and // is made to agree with it. */
static double float_mod(double a, double b, double *floored) {
    double rest = fmod(a, b);
    double quotient = (a - rest) / b;
    if (rest != 0) {
        if ((b < 0) != (rest < 0)) {
            rest += b;
            quotient -= 1;
        }
    } else {
        rest = copysign(0, b);
    }
    *floored = quotient != 0 ? floor(quotient) : copysign(0, a / b);
    if (quotient - *floored > 0.5) *floored += 1;
    return rest;
}

static spn_status float_op(tm_context *c, tm_op op, double a, double b, tm_value *out) {
    double result = 0, rest;
    if (b == 0 && (op == TM_DIV || op == TM_FLOORDIV || op == TM_MOD))
        return SPN_TM_FAIL(c, "division by zero");
    switch (op) {
    case TM_ADD:
        result = a + b;
        break;
    case TM_SUB:
        result = a - b;
        break;
    case TM_MUL:
        result = a * b;
        break;
    case TM_DIV:
        result = a / b;
        break;
    case TM_FLOORDIV:
        float_mod(a, b, &result);
        break;
    case TM_MOD:
        result = float_mod(a, b, &rest);
        break;
    default:
        if (a == 0 && b < 0) return SPN_TM_FAIL(c, "division by zero");
        if (a < 0 && b != floor(b)) return SPN_TM_FAIL(c, "a power is a complex number");
        result = pow(a, b);
        if (isinf(result) && !isinf(a) && !isinf(b)) return SPN_TM_FAIL(c, "a power is too large");
    }
    *out = tm_float(result);
    return SPN_STATUS_OK;
}

/* ---- sequences ---- */

static spn_status join_strings(tm_context *c, tm_value a, tm_value b, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    spn_status status;
    bool safe = a.safe || b.safe;
    if (!safe && (a.s->len == 0 || b.s->len == 0)) {
        *out = a.s->len == 0 ? b : a;
        return SPN_STATUS_OK;
    }
    const tm_value parts[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        if (safe && !parts[i].safe)
            SPN_TRY_GOTO(spn_tm_put_escaped(c, &buf, parts[i].s));
        else
            SPN_TRY_GOTO(spn_tm_put(c, &buf, parts[i].s->data, parts[i].s->len));
    }
done:
    status = spn_tm_finish(c, &buf, status, out);
    if (status == SPN_STATUS_OK) out->safe = safe;
    return status;
}

static spn_status join_lists(tm_context *c, tm_value a, tm_value b, tm_value *out) {
    size_t n = a.l->n + b.l->n;
    tm_value *items = spn_tm_alloc(c, n, sizeof *items);
    if (items == NULL) return SPN_TM_NO_MEMORY(c);
    if (a.l->n > 0) memcpy(items, a.l->items, a.l->n * sizeof *items);
    if (b.l->n > 0) memcpy(items + a.l->n, b.l->items, b.l->n * sizeof *items);
    SPN_TRY(spn_tm_step(c, n / 16));
    return spn_tm_list(c, a.kind, items, n, out);
}

static spn_status repeat(tm_context *c, tm_value v, int64_t times, tm_value *out) {
    size_t n = v.kind == TM_STRING ? v.s->len : v.l->n, total;
    size_t size = v.kind == TM_STRING ? 1 : sizeof(tm_value);
    const void *from = v.kind == TM_STRING ? (const void *)v.s->data : (const void *)v.l->items;
    if (times < 0) times = 0;
    if (!spn_mul_size(n, (size_t)times, &total)) total = SIZE_MAX / size - 1;
    char *data = spn_tm_alloc(c, total + (v.kind == TM_STRING), size);
    if (data == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t at = 0; n > 0 && at < total; at += n) memcpy(data + at * size, from, n * size);
    SPN_TRY(spn_tm_step(c, total / 64));
    if (v.kind != TM_STRING) return spn_tm_list(c, v.kind, (tm_value *)(void *)data, total, out);
    SPN_TRY(spn_tm_slice_of(c, data, total, out));
    out->safe = v.safe;
    return SPN_STATUS_OK;
}

static bool is_sequence(const tm_value *v) {
    return v->kind == TM_STRING || v->kind == TM_LIST || v->kind == TM_TUPLE;
}

spn_status spn_tm_binary(tm_context *c, tm_op op, tm_value a, tm_value b, tm_value *out) {
    static const char *const names[] = {
        [TM_ADD] = "+",       [TM_SUB] = "-", [TM_MUL] = "*",  [TM_DIV] = "/",
        [TM_FLOORDIV] = "//", [TM_MOD] = "%", [TM_POW] = "**",
    };
    if (spn_tm_is_int(&a) && spn_tm_is_int(&b))
        return int_op(c, op, spn_tm_int_of(&a), spn_tm_int_of(&b), out);
    if (spn_tm_is_number(&a) && spn_tm_is_number(&b))
        return float_op(c, op, spn_tm_float_of(&a), spn_tm_float_of(&b), out);
    if (op == TM_ADD && a.kind == TM_STRING && b.kind == TM_STRING)
        return join_strings(c, a, b, out);
    if (op == TM_ADD && a.kind == b.kind && is_sequence(&a)) return join_lists(c, a, b, out);
    if (op == TM_MUL && is_sequence(&a) && spn_tm_is_int(&b))
        return repeat(c, a, spn_tm_int_of(&b), out);
    if (op == TM_MUL && spn_tm_is_int(&a) && is_sequence(&b))
        return repeat(c, b, spn_tm_int_of(&a), out);
    if (op == TM_MOD && a.kind == TM_STRING) return spn_tm_percent(c, a, b, out);
    return bad_operands(c, names[op], &a, &b);
}

spn_status spn_tm_negate(tm_context *c, tm_value v, tm_value *out) {
    if (v.kind == TM_FLOAT) {
        *out = tm_float(-v.f);
        return SPN_STATUS_OK;
    }
    if (spn_tm_is_int(&v)) return int_op(c, TM_SUB, 0, spn_tm_int_of(&v), out);
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    return SPN_TM_FAIL(c, "a %s has no sign", spn_tm_type_name(&v));
}

/* ---- sorting ---- */

typedef struct sorter {
    tm_context *c;
    tm_value *keys, *items, *spare_keys, *spare_items;
    bool reverse;
} sorter;

/* Merges [low, middle) and [middle, high). Of equals the left one goes first in either direction,
 * which is what Python's reverse=True does. */
static spn_status merge(sorter *s, size_t low, size_t middle, size_t high) {
    size_t left = low, right = middle, to = low;
    while (left < middle && right < high) {
        bool right_first;
        tm_value a = s->keys[left], b = s->keys[right];
        SPN_TRY(s->reverse ? spn_tm_less(s->c, a, b, &right_first)
                           : spn_tm_less(s->c, b, a, &right_first));
        size_t from = right_first ? right++ : left++;
        s->spare_keys[to] = s->keys[from];
        s->spare_items[to++] = s->items[from];
    }
    size_t rest = left < middle ? left : right, n = high - to;
    memcpy(s->spare_keys + to, s->keys + rest, n * sizeof(tm_value));
    memcpy(s->spare_items + to, s->items + rest, n * sizeof(tm_value));
    memcpy(s->keys + low, s->spare_keys + low, (high - low) * sizeof(tm_value));
    memcpy(s->items + low, s->spare_items + low, (high - low) * sizeof(tm_value));
    return spn_tm_step(s->c, high - low);
}

spn_status spn_tm_sort(tm_context *c, tm_value *keys, tm_value *items, size_t n, bool reverse) {
    sorter s = {.c = c, .keys = keys, .items = items, .reverse = reverse};
    s.spare_keys = spn_tm_alloc(c, n, sizeof *keys);
    s.spare_items = spn_tm_alloc(c, n, sizeof *items);
    if (s.spare_keys == NULL || s.spare_items == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t width = 1; width < n; width *= 2)
        for (size_t low = 0; low + width < n; low += 2 * width)
            SPN_TRY(merge(&s, low, low + width, spn_min_size(low + 2 * width, n)));
    return SPN_STATUS_OK;
}
