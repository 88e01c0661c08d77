/* template_value.c - making values, walking them, dicts and scopes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "text/template_impl.h"

/* ---- failing and bounds ---- */

spn_status spn_tm_fail(tm_context *c, const char *fmt, ...) {
    char text[480];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) text[0] = '\0';
    return SPN_FAIL(c->err, TEMPLATE, "chat template, line %u: %s", (unsigned)c->line, text);
}

spn_status spn_tm_no_memory(tm_context *c) {
    if (c->over_memory)
        return SPN_TM_FAIL(c, "it needs more than %zu bytes of values", c->limits.n_memory);
    return SPN_NO_MEMORY(c->err, "rendering a chat template");
}

spn_status spn_tm_fail_undefined(tm_context *c, tm_value v) {
    const char *name = v.s != NULL ? v.s->data : "?";
    int n = v.s != NULL ? (int)spn_min_size(v.s->len, 100) : 1;
    tm_value owner = {.kind = v.owner};
    switch (v.why) {
    case TM_WHY_MEMBER:
        return SPN_TM_FAIL(c, "a %s has no '%.*s'", spn_tm_type_name(&owner), n, name);
    case TM_WHY_UNSAFE:
        return SPN_TM_FAIL(c, "'%.*s' of a %s is not allowed", n, name, spn_tm_type_name(&owner));
    case TM_WHY_TEXT:
        return SPN_TM_FAIL(c, "%.*s", n, name);
    default:
        return SPN_TM_FAIL(c, "'%.*s' is undefined", n, name);
    }
}

spn_status spn_tm_step(tm_context *c, size_t n) {
    c->n_steps += n;
    if (c->n_steps <= c->limits.n_steps) return SPN_STATUS_OK;
    return SPN_TM_FAIL(c, "it takes more than %llu steps", (unsigned long long)c->limits.n_steps);
}

spn_status spn_tm_enter(tm_context *c) {
    if (c->depth >= SPN_TM_MAX_DEPTH) return SPN_TM_FAIL(c, "it is nested too deep");
    c->depth++;
    return spn_tm_step(c, 1);
}

/* ---- making values ---- */

void *spn_tm_alloc(tm_context *c, size_t n, size_t item_bytes) {
    size_t n_bytes;
    if (!spn_mul_size(n, item_bytes, &n_bytes) || n_bytes > c->arena.max ||
        c->arena.n_bytes > c->arena.max - n_bytes) {
        c->over_memory = true;
        return NULL;
    }
    return spn_arena_alloc(&c->arena, n_bytes);
}

size_t spn_tm_count_chars(const char *data, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)data[i] & 0xC0) != 0x80;
    /* A first byte that continues nothing starts a character of its own. */
    return n + (len > 0 && ((unsigned char)data[0] & 0xC0) == 0x80);
}

tm_string *spn_tm_arena_string(spn_arena *arena, const char *data, size_t len) {
    tm_string *s = spn_arena_alloc(arena, sizeof *s);
    if (s == NULL) return NULL;
    s->data = spn_arena_text(arena, data, len);
    if (s->data == NULL) return NULL;
    s->len = len;
    s->n_chars = spn_tm_count_chars(data, len);
    return s;
}

spn_status spn_tm_slice_of(tm_context *c, const char *data, size_t len, tm_value *out) {
    tm_string *s = spn_tm_alloc(c, 1, sizeof *s);
    if (s == NULL) return SPN_TM_NO_MEMORY(c);
    *s = (tm_string){.data = data, .len = len, .n_chars = spn_tm_count_chars(data, len)};
    *out = tm_str(s);
    return spn_tm_step(c, len / 256);
}

spn_status spn_tm_string(tm_context *c, const char *data, size_t len, tm_value *out) {
    char *copy = spn_tm_alloc(c, len + 1, 1);
    if (copy == NULL) return SPN_TM_NO_MEMORY(c);
    if (len > 0) memcpy(copy, data, len);
    return spn_tm_slice_of(c, copy, len, out);
}

spn_status spn_tm_text(tm_context *c, const char *text, tm_value *out) {
    return spn_tm_string(c, text, strlen(text), out);
}

spn_status spn_tm_undefined(tm_context *c, const char *sentence, tm_value *out) {
    tm_value text;
    SPN_TRY(spn_tm_text(c, sentence, &text));
    *out = (tm_value){.kind = TM_UNDEFINED, .why = TM_WHY_TEXT, .s = text.s};
    return SPN_STATUS_OK;
}

spn_status spn_tm_list(tm_context *c, tm_kind kind, const tm_value *items, size_t n,
                       tm_value *out) {
    tm_list *list = spn_tm_alloc(c, 1, sizeof *list);
    if (list == NULL) return SPN_TM_NO_MEMORY(c);
    *list = (tm_list){.items = items, .n = n};
    *out = (tm_value){.kind = (uint8_t)kind, .l = list};
    return SPN_STATUS_OK;
}

spn_status spn_tm_iterator(tm_context *c, const tm_value *items, size_t n, tm_value *out) {
    tm_iterator *iter = spn_tm_alloc(c, 1, sizeof *iter);
    if (iter == NULL) return SPN_TM_NO_MEMORY(c);
    *iter = (tm_iterator){.items = items, .n = n};
    *out = (tm_value){.kind = TM_ITERATOR, .iter = iter};
    return SPN_STATUS_OK;
}

spn_status spn_tm_pair_tuple(tm_context *c, tm_value a, tm_value b, tm_value *out) {
    tm_value *items = spn_tm_alloc(c, 2, sizeof *items);
    if (items == NULL) return SPN_TM_NO_MEMORY(c);
    items[0] = a;
    items[1] = b;
    return spn_tm_list(c, TM_TUPLE, items, 2, out);
}

spn_status spn_tm_push(tm_context *c, tm_items *items, tm_value value) {
    if (items->n == items->cap) {
        size_t cap = items->cap ? items->cap * 2 : 8;
        tm_value *grown = spn_tm_alloc(c, cap, sizeof *grown);
        if (grown == NULL) return SPN_TM_NO_MEMORY(c);
        if (items->n > 0) memcpy(grown, items->items, items->n * sizeof *grown);
        items->items = grown;
        items->cap = cap;
    }
    items->items[items->n++] = value;
    return spn_tm_step(c, 1);
}

/* ---- dicts ---- */

#define ORDER_FROM 16 /* pairs from which on looking up uses an order */

spn_status spn_tm_dict_new(tm_context *c, size_t cap, tm_dict **out) {
    tm_dict *dict = spn_tm_alloc(c, 1, sizeof *dict);
    if (dict == NULL) return SPN_TM_NO_MEMORY(c);
    if (cap > 0) {
        dict->pairs = spn_tm_alloc(c, cap, sizeof *dict->pairs);
        if (dict->pairs == NULL) return SPN_TM_NO_MEMORY(c);
        dict->cap = cap;
    }
    *out = dict;
    return SPN_STATUS_OK;
}

spn_status spn_tm_dict_add(tm_context *c, tm_dict *dict, tm_value key, tm_value value) {
    if (dict->n == dict->cap) {
        size_t cap = dict->cap ? dict->cap * 2 : 4;
        tm_pair *pairs = spn_tm_alloc(c, cap, sizeof *pairs);
        if (pairs == NULL) return SPN_TM_NO_MEMORY(c);
        if (dict->n > 0) memcpy(pairs, dict->pairs, dict->n * sizeof *pairs);
        dict->pairs = pairs;
        dict->cap = cap;
    }
    dict->order = NULL;
    dict->pairs[dict->n++] = (tm_pair){.key = key, .value = value};
    return SPN_STATUS_OK;
}

static int compare_text(const tm_string *a, const tm_string *b) {
    int order = memcmp(a->data, b->data, spn_min_size(a->len, b->len));
    if (order != 0) return order;
    return (a->len > b->len) - (a->len < b->len);
}

static int compare_keys(const tm_dict *dict, uint32_t a, uint32_t b) {
    return compare_text(dict->pairs[a].key.s, dict->pairs[b].key.s);
}

/* Heap sort of `order`: the keys differ, so stability does not matter. */
static void sift_down(const tm_dict *dict, uint32_t *order, size_t at, size_t n) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && compare_keys(dict, order[child], order[child + 1]) < 0) child++;
        if (compare_keys(dict, order[at], order[child]) >= 0) return;
        uint32_t moved = order[at];
        order[at] = order[child];
        order[child] = moved;
    }
}

static spn_status make_order(tm_context *c, tm_dict *dict) {
    if (dict->n > UINT32_MAX) return SPN_STATUS_OK;
    for (size_t i = 0; i < dict->n; i++)
        if (dict->pairs[i].key.kind != TM_STRING) return SPN_STATUS_OK;
    uint32_t *order = spn_tm_alloc(c, dict->n, sizeof *order);
    if (order == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < dict->n; i++) order[i] = (uint32_t)i;
    for (size_t i = dict->n / 2; i-- > 0;) sift_down(dict, order, i, dict->n);
    for (size_t n = dict->n; n-- > 1;) {
        uint32_t largest = order[0];
        order[0] = order[n];
        order[n] = largest;
        sift_down(dict, order, 0, n);
    }
    dict->order = order;
    return spn_tm_step(c, dict->n);
}

static const tm_value *find_ordered(const tm_dict *dict, const tm_string *key) {
    size_t low = 0, high = dict->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        tm_pair *pair = &dict->pairs[dict->order[middle]];
        int order = compare_text(key, pair->key.s);
        if (order == 0) return &pair->value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static spn_status find_linear(tm_context *c, const tm_dict *dict, tm_value key,
                              const tm_value **out) {
    *out = NULL;
    SPN_TRY(spn_tm_step(c, dict->n / 4));
    for (size_t i = 0; i < dict->n; i++) {
        bool same = false;
        const tm_pair *pair = &dict->pairs[i];
        if (key.kind == TM_STRING)
            same = pair->key.kind == TM_STRING && spn_tm_same_text(key.s, pair->key.s);
        else if (pair->key.kind != TM_STRING)
            SPN_TRY(spn_tm_equal(c, key, pair->key, &same));
        if (!same) continue;
        *out = &pair->value;
        break;
    }
    return SPN_STATUS_OK;
}

static bool is_hashable(const tm_value *key) {
    if (key->kind == TM_TUPLE) {
        for (size_t i = 0; i < key->l->n; i++)
            if (key->l->items[i].kind == TM_TUPLE || !is_hashable(&key->l->items[i])) return false;
        return true;
    }
    return key->kind != TM_LIST && key->kind != TM_DICT && key->kind != TM_VIEW;
}

spn_status spn_tm_dict_find(tm_context *c, tm_dict *dict, tm_value key, const tm_value **out) {
    if (!is_hashable(&key)) return SPN_TM_FAIL(c, "a %s cannot be a key", spn_tm_type_name(&key));
    if (key.kind == TM_STRING && dict->n >= ORDER_FROM) {
        if (dict->order == NULL) SPN_TRY(make_order(c, dict));
        if (dict->order != NULL) {
            *out = find_ordered(dict, key.s);
            return SPN_STATUS_OK;
        }
    }
    return find_linear(c, dict, key, out);
}

spn_status spn_tm_dict_set(tm_context *c, tm_dict *dict, tm_value key, tm_value value) {
    const tm_value *old;
    if (!is_hashable(&key)) return SPN_TM_FAIL(c, "a %s cannot be a key", spn_tm_type_name(&key));
    /* Not through the order, which each addition would throw away again. */
    SPN_TRY(find_linear(c, dict, key, &old));
    if (old == NULL) return spn_tm_dict_add(c, dict, key, value);
    dict->pairs[(const tm_pair *)((const char *)old - offsetof(tm_pair, value)) - dict->pairs]
        .value = value;
    return SPN_STATUS_OK;
}

/* ---- scopes and namespaces ---- */

const tm_value *spn_tm_frame_find(const tm_frame *frame, const tm_string *name) {
    for (size_t i = frame->n; i-- > 0;)
        if (frame->vars[i].name == name || spn_tm_same_text(frame->vars[i].name, name))
            return &frame->vars[i].value;
    return NULL;
}

spn_status spn_tm_frame_set(tm_context *c, tm_frame *frame, const tm_string *name, tm_value value) {
    for (size_t i = 0; i < frame->n; i++) {
        if (!spn_tm_same_text(frame->vars[i].name, name)) continue;
        frame->vars[i].value = value;
        return SPN_STATUS_OK;
    }
    if (frame->n == frame->cap) {
        size_t cap = frame->cap ? frame->cap * 2 : 4;
        tm_var *vars = spn_tm_alloc(c, cap, sizeof *vars);
        if (vars == NULL) return SPN_TM_NO_MEMORY(c);
        if (frame->n > 0) memcpy(vars, frame->vars, frame->n * sizeof *vars);
        frame->vars = vars;
        frame->cap = cap;
    }
    frame->vars[frame->n++] = (tm_var){.name = name, .value = value};
    return spn_tm_step(c, frame->n / 8);
}

/* ---- what every value can do ---- */

const char *spn_tm_type_name(const tm_value *value) {
    static const char *const names[] = {
        [TM_MISSING] = "missing value",
        [TM_UNDEFINED] = "undefined value",
        [TM_NONE] = "none",
        [TM_BOOL] = "boolean",
        [TM_INT] = "integer",
        [TM_FLOAT] = "float",
        [TM_STRING] = "string",
        [TM_LIST] = "list",
        [TM_TUPLE] = "tuple",
        [TM_DICT] = "dict",
        [TM_RANGE] = "range",
        [TM_VIEW] = "dict view",
        [TM_ITERATOR] = "iterator",
        [TM_NAMESPACE] = "namespace",
        [TM_MACRO] = "macro",
        [TM_BUILTIN] = "function",
        [TM_LOOP] = "loop",
        [TM_CYCLER] = "cycler",
        [TM_JOINER] = "joiner",
    };
    return names[value->kind];
}

bool spn_tm_has_length(const tm_value *v) {
    return (v->kind >= TM_STRING && v->kind <= TM_VIEW) || v->kind == TM_UNDEFINED ||
           v->kind == TM_LOOP;
}

bool spn_tm_is_iterable(const tm_value *v) {
    return spn_tm_has_length(v) || v->kind == TM_ITERATOR;
}

static spn_status loop_length(tm_context *c, tm_loop *loop, size_t *out) {
    static const tm_string name = {.data = "length", .len = 6, .n_chars = 6};
    tm_value length = tm_int(0);
    SPN_TRY(spn_tm_loop_attr(c, loop, &name, &length));
    *out = (size_t)length.i;
    return SPN_STATUS_OK;
}

spn_status spn_tm_length(tm_context *c, tm_value v, size_t *out) {
    switch (v.kind) {
    case TM_UNDEFINED:
        *out = 0;
        return SPN_STATUS_OK;
    case TM_STRING:
        *out = v.s->n_chars;
        return SPN_STATUS_OK;
    case TM_LIST:
    case TM_TUPLE:
        *out = v.l->n;
        return SPN_STATUS_OK;
    case TM_DICT:
        *out = v.d->n;
        return SPN_STATUS_OK;
    case TM_RANGE:
        *out = v.r->n;
        return SPN_STATUS_OK;
    case TM_VIEW:
        *out = v.view->dict->n;
        return SPN_STATUS_OK;
    case TM_LOOP:
        return loop_length(c, v.loop, out);
    default:
        return SPN_TM_FAIL(c, "a %s has no length", spn_tm_type_name(&v));
    }
}

spn_status spn_tm_truth(tm_context *c, tm_value v, bool *out) {
    size_t n = 1;
    switch (v.kind) {
    case TM_MISSING:
    case TM_UNDEFINED:
    case TM_NONE:
        *out = false;
        return SPN_STATUS_OK;
    case TM_BOOL:
        *out = v.b;
        return SPN_STATUS_OK;
    case TM_INT:
        *out = v.i != 0;
        return SPN_STATUS_OK;
    case TM_FLOAT:
        *out = v.f != 0;
        return SPN_STATUS_OK;
    default:
        if (spn_tm_has_length(&v)) SPN_TRY(spn_tm_length(c, v, &n));
        *out = n != 0;
        return SPN_STATUS_OK;
    }
}

static spn_status iterate_string(tm_context *c, const tm_string *s, tm_value *items) {
    size_t at = 0;
    for (size_t i = 0; i < s->n_chars; i++) {
        size_t end = at + 1;
        while (end < s->len && ((unsigned char)s->data[end] & 0xC0) == 0x80) end++;
        SPN_TRY(spn_tm_slice_of(c, s->data + at, end - at, &items[i]));
        at = end;
    }
    return SPN_STATUS_OK;
}

static spn_status iterate_dict(tm_context *c, const tm_dict *dict, tm_part part, tm_value *items) {
    for (size_t i = 0; i < dict->n; i++) {
        const tm_pair *pair = &dict->pairs[i];
        if (part == TM_ITEMS)
            SPN_TRY(spn_tm_pair_tuple(c, pair->key, pair->value, &items[i]));
        else
            items[i] = part == TM_KEYS ? pair->key : pair->value;
    }
    return SPN_STATUS_OK;
}

static spn_status not_iterable(tm_context *c, const tm_value *v) {
    return SPN_TM_FAIL(c, "a %s cannot be iterated over", spn_tm_type_name(v));
}

spn_status spn_tm_iterate(tm_context *c, tm_value v, const tm_value **items, size_t *n) {
    if (v.kind == TM_LIST || v.kind == TM_TUPLE) {
        *items = v.l->items;
        *n = v.l->n;
        return SPN_STATUS_OK;
    }
    if (v.kind == TM_ITERATOR) {
        *items = v.iter->n > 0 ? v.iter->items + v.iter->next : NULL;
        *n = v.iter->n - v.iter->next;
        v.iter->next = v.iter->n;
        return SPN_STATUS_OK;
    }
    if (!spn_tm_has_length(&v) || v.kind == TM_LOOP) return not_iterable(c, &v);
    size_t count;
    SPN_TRY(spn_tm_length(c, v, &count));
    SPN_TRY(spn_tm_step(c, count));
    tm_value *all = spn_tm_alloc(c, count, sizeof *all);
    if (all == NULL) return SPN_TM_NO_MEMORY(c);
    if (v.kind == TM_STRING) SPN_TRY(iterate_string(c, v.s, all));
    if (v.kind == TM_DICT) SPN_TRY(iterate_dict(c, v.d, TM_KEYS, all));
    if (v.kind == TM_VIEW) SPN_TRY(iterate_dict(c, v.view->dict, v.view->part, all));
    for (size_t i = 0; v.kind == TM_RANGE && i < count; i++)
        all[i] = tm_int(v.r->start + v.r->step * (int64_t)i);
    *items = all;
    *n = count;
    return SPN_STATUS_OK;
}
