/* template_test.c - what stands behind "is". SPDX-License-Identifier: Apache-2.0 */
#include "text/template_impl.h"

static spn_status answer(bool yes, tm_value *out) {
    *out = tm_bool(yes);
    return SPN_STATUS_OK;
}

/* ---- kinds ---- */

static spn_status is_defined(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind != TM_UNDEFINED, out);
}

static spn_status is_undefined(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_UNDEFINED, out);
}

static spn_status is_none(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_NONE, out);
}

static spn_status is_boolean(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_BOOL, out);
}

static spn_status is_true(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_BOOL && call->self.b, out);
}

static spn_status is_false(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_BOOL && !call->self.b, out);
}

static spn_status is_integer(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_INT, out);
}

static spn_status is_float(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_FLOAT, out);
}

static spn_status is_number(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(spn_tm_is_number(&call->self), out);
}

static spn_status is_string(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_STRING, out);
}

static spn_status is_mapping(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_DICT, out);
}

/* Whatever has a length and can be indexed: dicts too, and even what is undefined. */
static spn_status is_sequence(tm_context *c, const tm_call *call, tm_value *out) {
    uint8_t kind = call->self.kind;
    (void)c;
    return answer(spn_tm_has_length(&call->self) && kind != TM_VIEW && kind != TM_LOOP, out);
}

static spn_status is_iterable(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(spn_tm_is_iterable(&call->self), out);
}

static spn_status is_callable(tm_context *c, const tm_call *call, tm_value *out) {
    uint8_t kind = call->self.kind;
    (void)c;
    return answer(kind == TM_MACRO || kind == TM_BUILTIN || kind == TM_LOOP || kind == TM_JOINER ||
                      kind == TM_UNDEFINED,
                  out);
}

static spn_status is_escaped(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return answer(call->self.kind == TM_STRING && call->self.safe, out);
}

/* ---- contents ---- */

static spn_status divides(tm_context *c, tm_value v, tm_value by, int64_t rest, tm_value *out) {
    tm_value modulo;
    bool same;
    SPN_TRY(spn_tm_binary(c, TM_MOD, v, by, &modulo));
    SPN_TRY(spn_tm_equal(c, modulo, tm_int(rest), &same));
    return answer(same, out);
}

static spn_status is_odd(tm_context *c, const tm_call *call, tm_value *out) {
    return divides(c, call->self, tm_int(2), 1, out);
}

static spn_status is_even(tm_context *c, const tm_call *call, tm_value *out) {
    return divides(c, call->self, tm_int(2), 0, out);
}

static spn_status is_divisibleby(tm_context *c, const tm_call *call, tm_value *out) {
    return divides(c, call->self, call->arg[0], 0, out);
}

static spn_status is_cased(tm_context *c, const tm_call *call, bool upper, tm_value *out) {
    const tm_string *s;
    SPN_TRY(spn_tm_str(c, call->self, &s));
    return answer(spn_tm_is_cased_as(s, upper), out);
}

static spn_status is_lower(tm_context *c, const tm_call *call, tm_value *out) {
    return is_cased(c, call, false, out);
}

static spn_status is_upper(tm_context *c, const tm_call *call, tm_value *out) {
    return is_cased(c, call, true, out);
}

/* ---- comparisons ---- */

static spn_status compared(tm_context *c, const tm_call *call, tm_op op, tm_value *out) {
    bool result;
    SPN_TRY(spn_tm_compare(c, op, call->self, call->arg[0], &result));
    return answer(result, out);
}

static spn_status is_eq(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_EQ, out);
}

static spn_status is_ne(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_NE, out);
}

static spn_status is_lt(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_LT, out);
}

static spn_status is_le(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_LE, out);
}

static spn_status is_gt(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_GT, out);
}

static spn_status is_ge(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_GE, out);
}

static spn_status is_in(tm_context *c, const tm_call *call, tm_value *out) {
    return compared(c, call, TM_IN, out);
}

/* Python's identity; of values that are equal but were made apart it may answer no. */
static spn_status is_sameas(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value a = call->self, b = call->arg[0];
    bool same = false;
    if (a.kind == b.kind && a.kind > TM_STRING) return answer(a.ns == b.ns, out);
    if (a.kind == b.kind && a.kind != TM_UNDEFINED) SPN_TRY(spn_tm_equal(c, a, b, &same));
    return answer(same, out);
}

static spn_status is_filter(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *name;
    SPN_TRY(spn_tm_arg_string(c, call->self, "a filter's name", &name));
    return answer(spn_tm_find_filter(name) != NULL, out);
}

static spn_status is_test(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *name;
    SPN_TRY(spn_tm_arg_string(c, call->self, "a test's name", &name));
    return answer(spn_tm_find_test(name) != NULL, out);
}

const tm_builtin *spn_tm_find_test(const tm_string *name) {
    static const tm_builtin rows[] = {
        {"odd", "", 0, is_odd},
        {"even", "", 0, is_even},
        {"divisibleby", "num", 1, is_divisibleby},
        {"defined", "", 0, is_defined},
        {"undefined", "", 0, is_undefined},
        {"filter", "", 0, is_filter},
        {"test", "", 0, is_test},
        {"none", "", 0, is_none},
        {"boolean", "", 0, is_boolean},
        {"false", "", 0, is_false},
        {"true", "", 0, is_true},
        {"integer", "", 0, is_integer},
        {"float", "", 0, is_float},
        {"lower", "", 0, is_lower},
        {"upper", "", 0, is_upper},
        {"string", "", 0, is_string},
        {"mapping", "", 0, is_mapping},
        {"number", "", 0, is_number},
        {"sequence", "", 0, is_sequence},
        {"iterable", "", 0, is_iterable},
        {"callable", "", 0, is_callable},
        {"sameas", "other", 1, is_sameas},
        {"escaped", "", 0, is_escaped},
        {"in", "seq", 1, is_in},
        {"==", "b", 1, is_eq},
        {"eq", "b", 1, is_eq},
        {"equalto", "b", 1, is_eq},
        {"!=", "b", 1, is_ne},
        {"ne", "b", 1, is_ne},
        {">", "b", 1, is_gt},
        {"gt", "b", 1, is_gt},
        {"greaterthan", "b", 1, is_gt},
        {">=", "b", 1, is_ge},
        {"ge", "b", 1, is_ge},
        {"<", "b", 1, is_lt},
        {"lt", "b", 1, is_lt},
        {"lessthan", "b", 1, is_lt},
        {"<=", "b", 1, is_le},
        {"le", "b", 1, is_le},
    };
    return spn_tm_find_builtin(rows, SPN_COUNT(rows), name);
}
