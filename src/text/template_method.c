/* template_method.c - methods of strings, dicts, lists, tuples and ranges, as Python's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "text/template_impl.h"

/* The text a method works on, and the result with the mark of that text. */
static const tm_string *self_text(const tm_call *call) { return call->self.s; }

static spn_status finish_text(tm_context *c, const tm_call *call, spn_buf *buf, spn_status status,
                              tm_value *out) {
    SPN_TRY(spn_tm_finish(c, buf, status, out));
    out->safe = call->self.safe;
    return SPN_STATUS_OK;
}

static spn_status part_of_self(tm_context *c, const tm_call *call, size_t start, size_t end,
                               tm_value *out) {
    SPN_TRY(spn_tm_slice_of(c, call->self.s->data + start, end - start, out));
    out->safe = call->self.safe;
    return SPN_STATUS_OK;
}

static bool not_given(tm_value v) { return v.kind == TM_MISSING || v.kind == TM_NONE; }

/* ---- stripping ---- */

static bool is_stripped(const tm_string *chars, const tm_string *s, size_t at, size_t n,
                        uint32_t ch) {
    if (chars == NULL) return spn_tm_is_space(ch);
    for (size_t i = 0, n_char; i < chars->len; i += n_char) {
        spn_tm_char_at(chars, i, &n_char);
        if (n_char == n && memcmp(chars->data + i, s->data + at, n) == 0) return true;
    }
    return false;
}

spn_status spn_tm_strip(tm_context *c, tm_value text, const tm_string *chars, unsigned sides,
                        tm_value *out) {
    const tm_string *s = text.s;
    size_t start = 0, end = s->len, n;
    while ((sides & TM_LEFT) && start < end) {
        uint32_t ch = spn_tm_char_at(s, start, &n);
        if (!is_stripped(chars, s, start, n, ch)) break;
        start += n;
    }
    while ((sides & TM_RIGHT) && end > start) {
        size_t at = end - 1;
        while (at > start && ((unsigned char)s->data[at] & 0xC0) == 0x80) at--;
        uint32_t ch = spn_tm_char_at(s, at, &n);
        if (!is_stripped(chars, s, at, end - at, ch)) break;
        end = at;
    }
    if (chars != NULL) SPN_TRY(spn_tm_step(c, (s->len - (end - start)) * chars->len / 16));
    SPN_TRY(spn_tm_slice_of(c, s->data + start, end - start, out));
    out->safe = text.safe;
    return SPN_STATUS_OK;
}

static spn_status strip_sides(tm_context *c, const tm_call *call, unsigned sides, tm_value *out) {
    const tm_string *chars = NULL;
    if (!not_given(call->arg[0]))
        SPN_TRY(spn_tm_arg_string(c, call->arg[0], "what is stripped", &chars));
    return spn_tm_strip(c, call->self, chars, sides, out);
}

static spn_status str_strip(tm_context *c, const tm_call *call, tm_value *out) {
    return strip_sides(c, call, TM_LEFT | TM_RIGHT, out);
}

static spn_status str_lstrip(tm_context *c, const tm_call *call, tm_value *out) {
    return strip_sides(c, call, TM_LEFT, out);
}

static spn_status str_rstrip(tm_context *c, const tm_call *call, tm_value *out) {
    return strip_sides(c, call, TM_RIGHT, out);
}

static bool begins_with(const tm_string *s, const tm_string *part) {
    return part->len <= s->len && memcmp(s->data, part->data, part->len) == 0;
}

static bool ends_with(const tm_string *s, const tm_string *part) {
    return part->len <= s->len && memcmp(s->data + s->len - part->len, part->data, part->len) == 0;
}

static spn_status str_removeprefix(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s = self_text(call), *part;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "a prefix", &part));
    return part_of_self(c, call, begins_with(s, part) ? part->len : 0, s->len, out);
}

static spn_status str_removesuffix(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s = self_text(call), *part;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "a suffix", &part));
    return part_of_self(c, call, 0, ends_with(s, part) ? s->len - part->len : s->len, out);
}

/* ---- splitting ---- */

static spn_status push_part(tm_context *c, const tm_call *call, tm_items *parts, size_t start,
                            size_t end) {
    tm_value part;
    SPN_TRY(part_of_self(c, call, start, end, &part));
    return spn_tm_push(c, parts, part);
}

static size_t skip_spaces(const tm_string *s, size_t at, bool space) {
    size_t n;
    while (at < s->len && spn_tm_is_space(spn_tm_char_at(s, at, &n)) == space) at += n;
    return at;
}

static size_t skip_spaces_back(const tm_string *s, size_t end, bool space) {
    size_t n;
    while (end > 0) {
        size_t at = end - 1;
        while (at > 0 && ((unsigned char)s->data[at] & 0xC0) == 0x80) at--;
        if (spn_tm_is_space(spn_tm_char_at(s, at, &n)) != space) break;
        end = at;
    }
    return end;
}

static spn_status split_space(tm_context *c, const tm_call *call, int64_t max, tm_items *parts) {
    const tm_string *s = self_text(call);
    size_t at = skip_spaces(s, 0, true);
    while (at < s->len) {
        size_t end = max == 0 ? s->len : skip_spaces(s, at, false);
        SPN_TRY(push_part(c, call, parts, at, end));
        if (max-- == 0) break;
        at = skip_spaces(s, end, true);
    }
    return SPN_STATUS_OK;
}

static void reverse_items(tm_items *items) {
    for (size_t i = 0; i + 1 < items->n - i; i++) {
        tm_value moved = items->items[i];
        items->items[i] = items->items[items->n - 1 - i];
        items->items[items->n - 1 - i] = moved;
    }
}

static spn_status rsplit_space(tm_context *c, const tm_call *call, int64_t max, tm_items *parts) {
    const tm_string *s = self_text(call);
    size_t end = skip_spaces_back(s, s->len, true);
    while (end > 0) {
        size_t at = max == 0 ? 0 : skip_spaces_back(s, end, false);
        SPN_TRY(push_part(c, call, parts, at, end));
        if (max-- == 0) break;
        end = skip_spaces_back(s, at, true);
    }
    reverse_items(parts);
    return SPN_STATUS_OK;
}

static spn_status split_by(tm_context *c, const tm_call *call, const tm_string *sep, int64_t max,
                           tm_items *parts) {
    const tm_string *s = self_text(call);
    size_t start = 0, hit;
    for (; max != 0; max--) {
        SPN_TRY(spn_tm_find(c, s, sep, start, &hit));
        if (hit == SIZE_MAX) break;
        SPN_TRY(push_part(c, call, parts, start, hit));
        start = hit + sep->len;
    }
    return push_part(c, call, parts, start, s->len);
}

/* The last place of `part` that ends at or before `end`. */
static spn_status find_last(tm_context *c, const tm_string *s, const tm_string *part, size_t start,
                            size_t end, size_t *out) {
    size_t n_tried = 0;
    *out = SIZE_MAX;
    if (end < part->len) return SPN_STATUS_OK;
    for (size_t at = end - part->len + 1; at-- > start && *out == SIZE_MAX; n_tried++)
        if (memcmp(s->data + at, part->data, part->len) == 0) *out = at;
    return spn_tm_step(c, n_tried / 64 * (1 + part->len / 64));
}

static spn_status rsplit_by(tm_context *c, const tm_call *call, const tm_string *sep, int64_t max,
                            tm_items *parts) {
    const tm_string *s = self_text(call);
    size_t end = s->len, hit;
    for (; max != 0; max--) {
        SPN_TRY(find_last(c, s, sep, 0, end, &hit));
        if (hit == SIZE_MAX) break;
        SPN_TRY(push_part(c, call, parts, hit + sep->len, end));
        end = hit;
    }
    SPN_TRY(push_part(c, call, parts, 0, end));
    reverse_items(parts);
    return SPN_STATUS_OK;
}

static spn_status split(tm_context *c, const tm_call *call, bool from_right, tm_value *out) {
    tm_items parts = {0};
    const tm_string *sep = NULL;
    int64_t max;
    SPN_TRY(spn_tm_arg_int(c, call->arg[1], -1, &max));
    if (not_given(call->arg[0])) {
        SPN_TRY(from_right ? rsplit_space(c, call, max, &parts)
                           : split_space(c, call, max, &parts));
    } else {
        SPN_TRY(spn_tm_arg_string(c, call->arg[0], "a separator", &sep));
        if (sep->len == 0) return SPN_TM_FAIL(c, "a text is split at nothing");
        SPN_TRY(from_right ? rsplit_by(c, call, sep, max, &parts)
                           : split_by(c, call, sep, max, &parts));
    }
    return spn_tm_list(c, TM_LIST, parts.items, parts.n, out);
}

static spn_status str_split(tm_context *c, const tm_call *call, tm_value *out) {
    return split(c, call, false, out);
}

static spn_status str_rsplit(tm_context *c, const tm_call *call, tm_value *out) {
    return split(c, call, true, out);
}

static spn_status partition(tm_context *c, const tm_call *call, bool last, tm_value *out) {
    const tm_string *s = self_text(call), *sep;
    tm_items parts = {0};
    size_t hit;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "a separator", &sep));
    if (sep->len == 0) return SPN_TM_FAIL(c, "a text is split at nothing");
    SPN_TRY(last ? find_last(c, s, sep, 0, s->len, &hit) : spn_tm_find(c, s, sep, 0, &hit));
    size_t before = hit != SIZE_MAX ? hit : last ? 0 : s->len;
    size_t after = hit != SIZE_MAX ? hit + sep->len : before;
    SPN_TRY(push_part(c, call, &parts, 0, before));
    SPN_TRY(push_part(c, call, &parts, before, after));
    SPN_TRY(push_part(c, call, &parts, after, s->len));
    return spn_tm_list(c, TM_TUPLE, parts.items, parts.n, out);
}

static spn_status str_partition(tm_context *c, const tm_call *call, tm_value *out) {
    return partition(c, call, false, out);
}

static spn_status str_rpartition(tm_context *c, const tm_call *call, tm_value *out) {
    return partition(c, call, true, out);
}

static bool is_line_break(uint32_t ch) {
    return (ch >= 10 && ch <= 13) || (ch >= 28 && ch <= 30) || ch == 0x85 || ch == 0x2028 ||
           ch == 0x2029;
}

spn_status spn_tm_splitlines(tm_context *c, const tm_string *s, bool keep_ends, tm_items *lines) {
    size_t start = 0, n;
    for (size_t at = 0; at < s->len; at += n) {
        if (!is_line_break(spn_tm_char_at(s, at, &n))) continue;
        if (s->data[at] == '\r' && at + 1 < s->len && s->data[at + 1] == '\n') n = 2;
        tm_value line;
        size_t end = keep_ends ? at + n : at;
        SPN_TRY(spn_tm_slice_of(c, s->data + start, end - start, &line));
        SPN_TRY(spn_tm_push(c, lines, line));
        start = at + n;
    }
    if (start == s->len) return SPN_STATUS_OK;
    tm_value last;
    SPN_TRY(spn_tm_slice_of(c, s->data + start, s->len - start, &last));
    return spn_tm_push(c, lines, last);
}

static spn_status str_splitlines(tm_context *c, const tm_call *call, tm_value *out) {
    tm_items lines = {0};
    bool keep_ends;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &keep_ends));
    SPN_TRY(spn_tm_splitlines(c, self_text(call), keep_ends, &lines));
    for (size_t i = 0; i < lines.n; i++) lines.items[i].safe = call->self.safe;
    return spn_tm_list(c, TM_LIST, lines.items, lines.n, out);
}

/* ---- finding ---- */

typedef struct range_bytes {
    size_t start, end;
    bool valid; /* start lies before the end as it was given */
} range_bytes;

/* The optional start and end of find() and its like, in characters, to bytes. */
static spn_status bounds(tm_context *c, const tm_call *call, range_bytes *out) {
    const tm_string *s = self_text(call);
    int64_t n = (int64_t)s->n_chars, ends[2] = {0, n};
    for (size_t i = 0; i < 2; i++) {
        tm_value arg = call->arg[i + 1];
        if (!not_given(arg)) SPN_TRY(spn_tm_arg_int(c, arg, 0, &ends[i]));
        if (ends[i] < 0) ends[i] = ends[i] < -n ? 0 : ends[i] + n;
    }
    out->valid = ends[0] <= n && ends[0] <= ends[1];
    if (ends[1] > n) ends[1] = n;
    if (!out->valid) return SPN_STATUS_OK;
    out->start = spn_tm_offset(s, (size_t)ends[0]);
    out->end = spn_tm_offset(s, (size_t)ends[1]);
    return SPN_STATUS_OK;
}

typedef enum finding { FIND_FIRST, FIND_LAST, FIND_COUNT } finding;

static spn_status find(tm_context *c, const tm_call *call, finding what, int64_t *out) {
    const tm_string *s = self_text(call), *part;
    range_bytes in;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "what is looked for", &part));
    SPN_TRY(bounds(c, call, &in));
    *out = what == FIND_COUNT ? 0 : -1;
    if (!in.valid) return SPN_STATUS_OK;
    tm_string text = {.data = s->data, .len = in.end};
    size_t hit;
    if (what == FIND_COUNT) {
        if (part->len == 0) {
            *out = (int64_t)spn_tm_count_chars(s->data + in.start, in.end - in.start) + 1;
            return SPN_STATUS_OK;
        }
        for (size_t at = in.start;; at = hit + part->len, ++*out) {
            SPN_TRY(spn_tm_find(c, &text, part, at, &hit));
            if (hit == SIZE_MAX) return SPN_STATUS_OK;
        }
    }
    SPN_TRY(what == FIND_FIRST ? spn_tm_find(c, &text, part, in.start, &hit)
                               : find_last(c, s, part, in.start, in.end, &hit));
    if (hit != SIZE_MAX) *out = (int64_t)spn_tm_count_chars(s->data, hit);
    return SPN_STATUS_OK;
}

static spn_status find_as(tm_context *c, const tm_call *call, finding what, bool must,
                          tm_value *out) {
    int64_t found;
    SPN_TRY(find(c, call, what, &found));
    if (must && found < 0) return SPN_TM_FAIL(c, "the text that index() looks for is not there");
    *out = tm_int(found);
    return SPN_STATUS_OK;
}

static spn_status str_find(tm_context *c, const tm_call *call, tm_value *out) {
    return find_as(c, call, FIND_FIRST, false, out);
}

static spn_status str_rfind(tm_context *c, const tm_call *call, tm_value *out) {
    return find_as(c, call, FIND_LAST, false, out);
}

static spn_status str_index(tm_context *c, const tm_call *call, tm_value *out) {
    return find_as(c, call, FIND_FIRST, true, out);
}

static spn_status str_rindex(tm_context *c, const tm_call *call, tm_value *out) {
    return find_as(c, call, FIND_LAST, true, out);
}

static spn_status str_count(tm_context *c, const tm_call *call, tm_value *out) {
    return find_as(c, call, FIND_COUNT, false, out);
}

/* One text or a tuple of texts. */
static spn_status match_end(tm_context *c, const tm_call *call, bool at_start, tm_value *out) {
    const tm_value *parts = &call->arg[0];
    size_t n = 1;
    range_bytes in;
    if (parts->kind == TM_TUPLE) {
        n = parts->l->n;
        parts = parts->l->items;
    }
    *out = tm_bool(false);
    SPN_TRY(bounds(c, call, &in));
    for (size_t i = 0; i < n; i++) {
        const tm_string *part;
        SPN_TRY(spn_tm_arg_string(c, parts[i], "a beginning or end", &part));
        tm_string text = {.data = self_text(call)->data, .len = 0};
        if (!in.valid) continue;
        text.data += in.start;
        text.len = in.end - in.start;
        if (at_start ? begins_with(&text, part) : ends_with(&text, part)) *out = tm_bool(true);
    }
    return SPN_STATUS_OK;
}

static spn_status str_startswith(tm_context *c, const tm_call *call, tm_value *out) {
    return match_end(c, call, true, out);
}

static spn_status str_endswith(tm_context *c, const tm_call *call, tm_value *out) {
    return match_end(c, call, false, out);
}

/* ---- building ---- */

spn_status spn_tm_replace(tm_context *c, const tm_string *s, const tm_string *old,
                          const tm_string *new, int64_t max, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    size_t start = 0, hit, at = 0;
    for (; max != 0; max--) {
        SPN_TRY_GOTO(spn_tm_find(c, s, old, at, &hit));
        if (hit == SIZE_MAX) break;
        SPN_TRY_GOTO(spn_tm_put(c, &buf, s->data + start, hit - start));
        SPN_TRY_GOTO(spn_tm_put(c, &buf, new->data, new->len));
        start = at = hit + old->len;
        if (old->len > 0) continue;
        if (at >= s->len) break; /* an empty text is found between all characters */
        at++;
        while (at < s->len && ((unsigned char)s->data[at] & 0xC0) == 0x80) at++;
    }
    SPN_TRY_GOTO(spn_tm_put(c, &buf, s->data + start, s->len - start));
done:
    return spn_tm_finish(c, &buf, status, out);
}

static spn_status str_replace(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *old, *new;
    int64_t max;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "what is replaced", &old));
    SPN_TRY(spn_tm_arg_string(c, call->arg[1], "the replacement", &new));
    SPN_TRY(spn_tm_arg_int(c, call->arg[2], -1, &max));
    SPN_TRY(spn_tm_replace(c, self_text(call), old, new, max, out));
    out->safe = call->self.safe;
    return SPN_STATUS_OK;
}

static spn_status str_join(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    SPN_TRY(spn_tm_iterate(c, call->arg[0], &items, &n));
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 0; i < n && status == SPN_STATUS_OK; i++) {
        const tm_string *item, *sep = self_text(call);
        SPN_TRY_GOTO(spn_tm_arg_string(c, items[i], "what join() joins", &item));
        if (i > 0) SPN_TRY_GOTO(spn_tm_put(c, &buf, sep->data, sep->len));
        if (call->self.safe && !items[i].safe)
            SPN_TRY_GOTO(spn_tm_put_escaped(c, &buf, item));
        else
            SPN_TRY_GOTO(spn_tm_put(c, &buf, item->data, item->len));
    }
done:
    return finish_text(c, call, &buf, status, out);
}

static spn_status str_format(tm_context *c, const tm_call *call, tm_value *out) {
    return spn_tm_format(c, self_text(call), call->all, out);
}

static spn_status cased(tm_context *c, const tm_call *call, tm_casing casing, tm_value *out) {
    SPN_TRY(spn_tm_cased(c, self_text(call), casing, out));
    out->safe = call->self.safe;
    return SPN_STATUS_OK;
}

static spn_status str_upper(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_UPPER, out);
}

static spn_status str_lower(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_LOWER, out);
}

static spn_status str_title(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_TITLE, out);
}

static spn_status str_capitalize(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_CAPITALIZE, out);
}

static spn_status str_swapcase(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_SWAPCASE, out);
}

spn_status spn_tm_justify(tm_context *c, const tm_string *s, size_t left, size_t right,
                          const tm_string *fill, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 0; i < left; i++) SPN_TRY_GOTO(spn_tm_put(c, &buf, fill->data, fill->len));
    SPN_TRY_GOTO(spn_tm_put(c, &buf, s->data, s->len));
    for (size_t i = 0; i < right; i++) SPN_TRY_GOTO(spn_tm_put(c, &buf, fill->data, fill->len));
done:
    return spn_tm_finish(c, &buf, status, out);
}

static const tm_string one_space = {.data = " ", .len = 1, .n_chars = 1};

/* *missing is how many characters the text lacks to be as wide as asked for. */
static spn_status read_width(tm_context *c, const tm_call *call, size_t *missing,
                             const tm_string **fill) {
    int64_t width, length = (int64_t)self_text(call)->n_chars;
    *fill = &one_space;
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 0, &width));
    if (call->arg[1].kind != TM_MISSING)
        SPN_TRY(spn_tm_arg_string(c, call->arg[1], "what fills up", fill));
    if ((*fill)->n_chars != 1) return SPN_TM_FAIL(c, "what fills up must be one character");
    *missing = width > length ? (size_t)(width - length) : 0;
    return SPN_STATUS_OK;
}

static spn_status str_ljust(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *fill;
    size_t missing;
    SPN_TRY(read_width(c, call, &missing, &fill));
    return spn_tm_justify(c, self_text(call), 0, missing, fill, out);
}

static spn_status str_rjust(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *fill;
    size_t missing;
    SPN_TRY(read_width(c, call, &missing, &fill));
    return spn_tm_justify(c, self_text(call), missing, 0, fill, out);
}

/* Python puts the odd character left exactly when both the rest and the width are odd. */
static spn_status str_center(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *fill, *s = self_text(call);
    size_t missing;
    SPN_TRY(read_width(c, call, &missing, &fill));
    size_t left = missing / 2 + (missing & (s->n_chars + missing) & 1);
    return spn_tm_justify(c, s, left, missing - left, fill, out);
}

static spn_status str_zfill(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s = self_text(call), *fill;
    size_t missing;
    SPN_TRY(read_width(c, call, &missing, &fill));
    size_t n_sign = s->len > 0 && (s->data[0] == '-' || s->data[0] == '+');
    spn_buf buf = SPN_BUF(0);
    spn_status status = spn_tm_put(c, &buf, s->data, n_sign);
    if (status == SPN_STATUS_OK) status = spn_tm_put_fill(c, &buf, '0', missing);
    if (status == SPN_STATUS_OK) status = spn_tm_put(c, &buf, s->data + n_sign, s->len - n_sign);
    return finish_text(c, call, &buf, status, out);
}

/* ---- asking ---- */

static spn_status all_chars(const tm_call *call, bool (*is)(uint32_t ch), tm_value *out) {
    const tm_string *s = self_text(call);
    bool all = s->len > 0;
    for (size_t at = 0, n; at < s->len && all; at += n) all = is(spn_tm_char_at(s, at, &n));
    *out = tm_bool(all);
    return SPN_STATUS_OK;
}

static bool is_alnum(uint32_t ch) {
    return spn_tm_is_alpha(ch) || spn_tm_is_digit(ch) || spn_tm_is_numeric(ch);
}

static spn_status str_isalpha(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return all_chars(call, spn_tm_is_alpha, out);
}

static spn_status str_isalnum(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return all_chars(call, is_alnum, out);
}

static spn_status str_isdigit(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return all_chars(call, spn_tm_is_digit, out);
}

static spn_status str_isnumeric(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return all_chars(call, spn_tm_is_numeric, out);
}

static spn_status str_isspace(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    return all_chars(call, spn_tm_is_space, out);
}

bool spn_tm_is_cased_as(const tm_string *s, bool upper) {
    bool some = false;
    for (size_t at = 0, n; at < s->len; at += n) {
        uint32_t ch = spn_tm_char_at(s, at, &n);
        if (upper ? spn_tm_is_lower(ch) : spn_tm_is_upper(ch)) return false;
        some = some || (upper ? spn_tm_is_upper(ch) : spn_tm_is_lower(ch));
    }
    return some;
}

static spn_status str_isupper(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    *out = tm_bool(spn_tm_is_cased_as(self_text(call), true));
    return SPN_STATUS_OK;
}

static spn_status str_islower(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    *out = tm_bool(spn_tm_is_cased_as(self_text(call), false));
    return SPN_STATUS_OK;
}

static spn_status str_isascii(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s = self_text(call);
    bool all = true;
    (void)c;
    for (size_t i = 0; i < s->len; i++) all = all && (unsigned char)s->data[i] < 0x80;
    *out = tm_bool(all);
    return SPN_STATUS_OK;
}

static const tm_builtin string_methods[] = {
    {"capitalize", "", 0, str_capitalize},
    {"casefold", NULL, 0, NULL},
    {"center", "width fillchar", 1, str_center},
    {"count", "sub start end", 1, str_count},
    {"encode", NULL, 0, NULL},
    {"endswith", "suffix start end", 1, str_endswith},
    {"expandtabs", NULL, 0, NULL},
    {"find", "sub start end", 1, str_find},
    {"format", NULL, 0, str_format},
    {"format_map", NULL, 0, NULL},
    {"index", "sub start end", 1, str_index},
    {"isalnum", "", 0, str_isalnum},
    {"isalpha", "", 0, str_isalpha},
    {"isascii", "", 0, str_isascii},
    {"isdecimal", "", 0, str_isdigit},
    {"isdigit", "", 0, str_isdigit},
    {"isidentifier", NULL, 0, NULL},
    {"islower", "", 0, str_islower},
    {"isnumeric", "", 0, str_isnumeric},
    {"isprintable", NULL, 0, NULL},
    {"isspace", "", 0, str_isspace},
    {"istitle", NULL, 0, NULL},
    {"isupper", "", 0, str_isupper},
    {"join", "iterable", 1, str_join},
    {"ljust", "width fillchar", 1, str_ljust},
    {"lower", "", 0, str_lower},
    {"lstrip", "chars", 0, str_lstrip},
    {"maketrans", NULL, 0, NULL},
    {"partition", "sep", 1, str_partition},
    {"removeprefix", "prefix", 1, str_removeprefix},
    {"removesuffix", "suffix", 1, str_removesuffix},
    {"replace", "old new count", 2, str_replace},
    {"rfind", "sub start end", 1, str_rfind},
    {"rindex", "sub start end", 1, str_rindex},
    {"rjust", "width fillchar", 1, str_rjust},
    {"rpartition", "sep", 1, str_rpartition},
    {"rsplit", "sep maxsplit", 0, str_rsplit},
    {"rstrip", "chars", 0, str_rstrip},
    {"split", "sep maxsplit", 0, str_split},
    {"splitlines", "keepends", 0, str_splitlines},
    {"startswith", "prefix start end", 1, str_startswith},
    {"strip", "chars", 0, str_strip},
    {"swapcase", "", 0, str_swapcase},
    {"title", "", 0, str_title},
    {"translate", NULL, 0, NULL},
    {"upper", "", 0, str_upper},
    {"zfill", "width", 1, str_zfill},
};

/* ---- dicts ---- */

static spn_status dict_view(tm_context *c, const tm_call *call, tm_part part, tm_value *out) {
    tm_view *view = spn_tm_alloc(c, 1, sizeof *view);
    if (view == NULL) return SPN_TM_NO_MEMORY(c);
    *view = (tm_view){.dict = call->self.d, .part = part};
    *out = (tm_value){.kind = TM_VIEW, .view = view};
    return SPN_STATUS_OK;
}

static spn_status dict_keys(tm_context *c, const tm_call *call, tm_value *out) {
    return dict_view(c, call, TM_KEYS, out);
}

static spn_status dict_values(tm_context *c, const tm_call *call, tm_value *out) {
    return dict_view(c, call, TM_VALUES, out);
}

static spn_status dict_items(tm_context *c, const tm_call *call, tm_value *out) {
    return dict_view(c, call, TM_ITEMS, out);
}

static spn_status dict_get(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *found;
    SPN_TRY(spn_tm_dict_find(c, call->self.d, call->arg[0], &found));
    *out = found != NULL ? *found : call->arg[1].kind != TM_MISSING ? call->arg[1] : tm_none();
    return SPN_STATUS_OK;
}

/* Dicts and lists never change, so a copy may be the thing itself. */
static spn_status copy_self(tm_context *c, const tm_call *call, tm_value *out) {
    (void)c;
    *out = call->self;
    return SPN_STATUS_OK;
}

static const tm_builtin dict_methods[] = {
    {"copy", "", 0, copy_self},   {"fromkeys", NULL, 0, NULL}, {"get", "key default", 1, dict_get},
    {"items", "", 0, dict_items}, {"keys", "", 0, dict_keys},  {"values", "", 0, dict_values},
};

/* ---- lists, tuples, ranges ---- */

static spn_status list_count(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n, n_same = 0;
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        bool same;
        SPN_TRY(spn_tm_equal(c, items[i], call->arg[0], &same));
        n_same += same;
    }
    *out = tm_int((int64_t)n_same);
    return spn_tm_step(c, n / 4);
}

static spn_status list_index(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        bool same;
        SPN_TRY(spn_tm_equal(c, items[i], call->arg[0], &same));
        *out = tm_int((int64_t)i);
        if (same) return spn_tm_step(c, i / 4);
    }
    return SPN_TM_FAIL(c, "the item that index() looks for is not there");
}

static const tm_builtin list_methods[] = {
    {"copy", "", 0, copy_self},
    {"count", "value", 1, list_count},
    {"index", "value", 1, list_index},
};

/* Methods that change their object: the sandbox knows them and refuses them. */
static bool is_unsafe(tm_kind kind, const tm_string *name) {
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    static const char *const of_lists[] = {"append", "clear", "pop",    "reverse",
                                           "insert", "sort",  "extend", "remove"};
    const char *const *names = kind == TM_DICT ? of_dicts : of_lists;
    size_t n = kind == TM_DICT ? SPN_COUNT(of_dicts) : SPN_COUNT(of_lists);
    if (kind != TM_DICT && kind != TM_LIST) return false;
    for (size_t i = 0; i < n; i++)
        if (spn_tm_is_text(name, names[i])) return true;
    return false;
}

const tm_builtin *spn_tm_find_method(tm_kind kind, const tm_string *name, bool *unsafe) {
    *unsafe = is_unsafe(kind, name);
    switch (kind) {
    case TM_STRING:
        return spn_tm_find_builtin(string_methods, SPN_COUNT(string_methods), name);
    case TM_DICT:
        return spn_tm_find_builtin(dict_methods, SPN_COUNT(dict_methods), name);
    case TM_LIST:
        return spn_tm_find_builtin(list_methods, SPN_COUNT(list_methods), name);
    case TM_TUPLE:
    case TM_RANGE: /* all but copy() */
        return spn_tm_find_builtin(list_methods + 1, SPN_COUNT(list_methods) - 1, name);
    default:
        return NULL;
    }
}
