/* template_filter.c - filters of sequences and dicts. SPDX-License-Identifier: Apache-2.0
 *
 * Those that are generators in Jinja (map, select, reverse ...) give an iterator here too: it can
 * be walked once, has no length and is always true. Only its items are found at once.
 */
#include "text/template_impl.h"

/* ---- a path: "a.b.0", a number, or nothing ---- */

static bool all_digits(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return n > 0 && n < 10;
}

static spn_status step_into(tm_context *c, tm_value item, const char *part, size_t n,
                            tm_value *out) {
    tm_value key;
    if (all_digits(part, n)) {
        int64_t index = 0;
        for (size_t i = 0; i < n; i++) index = index * 10 + (part[i] - '0');
        key = tm_int(index);
    } else {
        SPN_TRY(spn_tm_slice_of(c, part, n, &key));
    }
    return spn_tm_item(c, item, key, out);
}

/* `missing` (MISSING: none) stands for whatever is undefined on the way. */
static spn_status follow(tm_context *c, tm_value item, const char *path, size_t len,
                         tm_value missing, tm_value *out) {
    const char *end = path + len;
    for (;;) {
        const char *dot = memchr(path, '.', (size_t)(end - path));
        size_t n = (size_t)((dot != NULL ? dot : end) - path);
        SPN_TRY(step_into(c, item, path, n, &item));
        if (item.kind == TM_UNDEFINED && missing.kind != TM_MISSING && missing.kind != TM_NONE)
            item = missing;
        if (dot == NULL) break;
        path = dot + 1;
    }
    *out = item;
    return SPN_STATUS_OK;
}

static spn_status get_path(tm_context *c, tm_value item, tm_value path, tm_value missing,
                           tm_value *out) {
    *out = item;
    if (path.kind == TM_MISSING || path.kind == TM_NONE) return SPN_STATUS_OK;
    if (path.kind == TM_STRING) return follow(c, item, path.s->data, path.s->len, missing, out);
    SPN_TRY(spn_tm_item(c, item, path, out));
    if (out->kind == TM_UNDEFINED && missing.kind != TM_MISSING && missing.kind != TM_NONE)
        *out = missing;
    return SPN_STATUS_OK;
}

static spn_status fold_case(tm_context *c, bool fold, tm_value *v) {
    if (!fold || v->kind != TM_STRING) return SPN_STATUS_OK;
    return spn_tm_cased(c, v->s, TM_LOWER, v);
}

/* What sort, unique, min ... compare: the path's end, in lower case unless it matters. */
static spn_status get_key(tm_context *c, tm_value item, tm_value path, bool fold, tm_value *out) {
    SPN_TRY(get_path(c, item, path, tm_missing(), out));
    return fold_case(c, fold, out);
}

/* ---- simple ones ---- */

static spn_status filter_length(tm_context *c, const tm_call *call, tm_value *out) {
    size_t n;
    SPN_TRY(spn_tm_length(c, call->self, &n));
    *out = tm_int((int64_t)n);
    return SPN_STATUS_OK;
}

static spn_status filter_list(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    return spn_tm_list(c, TM_LIST, items, n, out);
}

static spn_status filter_first(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    if (call->self.kind == TM_ITERATOR && call->self.iter->next < call->self.iter->n) {
        *out = call->self.iter->items[call->self.iter->next++];
        return SPN_STATUS_OK;
    }
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    if (n == 0) return spn_tm_undefined(c, "there is no first item", out);
    *out = items[0];
    return SPN_STATUS_OK;
}

static spn_status filter_last(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    if (!spn_tm_has_length(&call->self))
        return SPN_TM_FAIL(c, "the last item of a %s", spn_tm_type_name(&call->self));
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    if (n == 0) return spn_tm_undefined(c, "there is no last item", out);
    *out = items[n - 1];
    return SPN_STATUS_OK;
}

static spn_status filter_reverse(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items, backwards[3] = {tm_none(), tm_none(), tm_int(-1)};
    size_t n;
    if (call->self.kind == TM_STRING) return spn_tm_slice(c, call->self, backwards, out);
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    tm_value *reversed = spn_tm_alloc(c, n, sizeof *reversed);
    if (reversed == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < n; i++) reversed[i] = items[n - 1 - i];
    if (call->self.kind == TM_ITERATOR) return spn_tm_list(c, TM_LIST, reversed, n, out);
    return spn_tm_iterator(c, reversed, n, out);
}

static spn_status filter_join(tm_context *c, const tm_call *call, tm_value *out) {
    static const tm_string empty = {.data = ""};
    const tm_string *separator = &empty;
    const tm_value *items;
    size_t n;
    if (call->arg[0].kind != TM_MISSING) SPN_TRY(spn_tm_str(c, call->arg[0], &separator));
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    spn_buf buf = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 0; i < n; i++) {
        tm_value item;
        if (i > 0) SPN_TRY_GOTO(spn_tm_put(c, &buf, separator->data, separator->len));
        SPN_TRY_GOTO(get_path(c, items[i], call->arg[1], tm_missing(), &item));
        SPN_TRY_GOTO(spn_tm_put_str(c, &buf, item));
    }
done:
    return spn_tm_finish(c, &buf, status, out);
}

static spn_status filter_sum(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    size_t n;
    tm_value total = call->arg[1].kind == TM_MISSING ? tm_int(0) : call->arg[1];
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        tm_value item;
        SPN_TRY(get_path(c, items[i], call->arg[0], tm_missing(), &item));
        SPN_TRY(spn_tm_binary(c, TM_ADD, total, item, &total));
    }
    *out = total;
    return SPN_STATUS_OK;
}

static spn_status filter_attr(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *name;
    SPN_TRY(spn_tm_arg_string(c, call->arg[0], "an attribute's name", &name));
    if (call->self.kind != TM_DICT) return spn_tm_attr(c, call->self, name, out);
    tm_value empty = {.kind = TM_DICT};
    SPN_TRY(spn_tm_dict_new(c, 0, &empty.d)); /* methods are attributes, keys are none */
    return spn_tm_attr(c, empty, name, out);
}

static spn_status filter_items(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items = NULL;
    size_t n = 0;
    tm_view view = {.dict = call->self.d, .part = TM_ITEMS};
    tm_value v = {.kind = TM_VIEW, .view = &view};
    if (call->self.kind != TM_UNDEFINED) {
        if (call->self.kind != TM_DICT)
            return SPN_TM_FAIL(c, "items of a %s", spn_tm_type_name(&call->self));
        SPN_TRY(spn_tm_iterate(c, v, &items, &n));
    }
    return spn_tm_iterator(c, items, n, out);
}

/* ---- order ---- */

/* Several paths with commas between them give a list of keys. */
static spn_status sort_key(tm_context *c, tm_value item, tm_value path, bool fold, tm_value *out) {
    tm_items keys = {0};
    tm_value key;
    if (path.kind != TM_STRING) {
        SPN_TRY(get_key(c, item, path, fold, &key));
        SPN_TRY(spn_tm_push(c, &keys, key));
        return spn_tm_list(c, TM_LIST, keys.items, keys.n, out);
    }
    const char *at = path.s->data, *end = at + path.s->len;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = (size_t)((comma != NULL ? comma : end) - at);
        SPN_TRY(follow(c, item, at, n, tm_missing(), &key));
        SPN_TRY(fold_case(c, fold, &key));
        SPN_TRY(spn_tm_push(c, &keys, key));
        if (comma == NULL) break;
        at = comma + 1;
    }
    return spn_tm_list(c, TM_LIST, keys.items, keys.n, out);
}

static spn_status copy_items(tm_context *c, tm_value from, tm_value **copy, size_t *n) {
    const tm_value *items;
    SPN_TRY(spn_tm_iterate(c, from, &items, n));
    *copy = spn_tm_alloc(c, *n, sizeof **copy);
    if (*copy == NULL) return SPN_TM_NO_MEMORY(c);
    if (*n > 0) memcpy(*copy, items, *n * sizeof **copy);
    return SPN_STATUS_OK;
}

static spn_status filter_sort(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value *items, *keys;
    size_t n;
    bool reverse, case_matters;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &reverse));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[1], &case_matters));
    SPN_TRY(copy_items(c, call->self, &items, &n));
    keys = spn_tm_alloc(c, n, sizeof *keys);
    if (keys == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < n; i++)
        SPN_TRY(sort_key(c, items[i], call->arg[2], !case_matters, &keys[i]));
    SPN_TRY(spn_tm_sort(c, keys, items, n, reverse));
    return spn_tm_list(c, TM_LIST, items, n, out);
}

static spn_status filter_dictsort(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *by = NULL;
    tm_value *items, *keys, v = call->self;
    size_t n;
    bool case_matters, reverse;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &case_matters));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[2], &reverse));
    if (call->arg[1].kind != TM_MISSING)
        SPN_TRY(spn_tm_arg_string(c, call->arg[1], "what dictsort sorts by", &by));
    if (by != NULL && !spn_tm_is_text(by, "key") && !spn_tm_is_text(by, "value"))
        return SPN_TM_FAIL(c, "dictsort sorts by key or by value");
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (v.kind != TM_DICT) return SPN_TM_FAIL(c, "dictsort of a %s", spn_tm_type_name(&v));
    tm_view view = {.dict = v.d, .part = TM_ITEMS};
    SPN_TRY(copy_items(c, (tm_value){.kind = TM_VIEW, .view = &view}, &items, &n));
    keys = spn_tm_alloc(c, n, sizeof *keys);
    if (keys == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < n; i++) {
        keys[i] = items[i].l->items[by != NULL && spn_tm_is_text(by, "value")];
        SPN_TRY(fold_case(c, !case_matters, &keys[i]));
    }
    SPN_TRY(spn_tm_sort(c, keys, items, n, reverse));
    return spn_tm_list(c, TM_LIST, items, n, out);
}

static spn_status extreme(tm_context *c, const tm_call *call, bool largest, tm_value *out) {
    const tm_value *items;
    tm_value best, key;
    size_t n;
    bool case_matters, better;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &case_matters));
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    if (n == 0) return spn_tm_undefined(c, "the smallest or largest item of nothing", out);
    *out = items[0];
    SPN_TRY(get_key(c, items[0], call->arg[1], !case_matters, &best));
    for (size_t i = 1; i < n; i++) {
        SPN_TRY(get_key(c, items[i], call->arg[1], !case_matters, &key));
        SPN_TRY(largest ? spn_tm_less(c, best, key, &better) : spn_tm_less(c, key, best, &better));
        if (!better) continue;
        best = key;
        *out = items[i];
    }
    return SPN_STATUS_OK;
}

static spn_status filter_min(tm_context *c, const tm_call *call, tm_value *out) {
    return extreme(c, call, false, out);
}

static spn_status filter_max(tm_context *c, const tm_call *call, tm_value *out) {
    return extreme(c, call, true, out);
}

static spn_status filter_unique(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    tm_items kept = {0};
    tm_dict *seen;
    size_t n;
    bool case_matters;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &case_matters));
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    SPN_TRY(spn_tm_dict_new(c, 0, &seen));
    for (size_t i = 0; i < n; i++) {
        tm_value key;
        size_t n_before = seen->n;
        SPN_TRY(get_key(c, items[i], call->arg[1], !case_matters, &key));
        SPN_TRY(spn_tm_dict_set(c, seen, key, items[i]));
        if (seen->n > n_before) SPN_TRY(spn_tm_push(c, &kept, items[i]));
    }
    return spn_tm_iterator(c, kept.items, kept.n, out);
}

static spn_status filter_groupby(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value *items, *keys;
    tm_items groups = {0};
    size_t n;
    bool case_matters;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[2], &case_matters));
    SPN_TRY(copy_items(c, call->self, &items, &n));
    keys = spn_tm_alloc(c, n, sizeof *keys);
    if (keys == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < n; i++) {
        SPN_TRY(get_path(c, items[i], call->arg[0], call->arg[1], &keys[i]));
        SPN_TRY(fold_case(c, !case_matters, &keys[i]));
    }
    SPN_TRY(spn_tm_sort(c, keys, items, n, false));
    for (size_t start = 0, end; start < n; start = end) {
        bool same = true;
        for (end = start + 1; end < n; end++) {
            SPN_TRY(spn_tm_equal(c, keys[start], keys[end], &same));
            if (!same) break;
        }
        tm_value grouper, list, group;
        SPN_TRY(get_path(c, items[start], call->arg[0], call->arg[1], &grouper));
        SPN_TRY(spn_tm_list(c, TM_LIST, items + start, end - start, &list));
        SPN_TRY(spn_tm_pair_tuple(c, grouper, list, &group));
        SPN_TRY(spn_tm_push(c, &groups, group));
    }
    return spn_tm_list(c, TM_LIST, groups.items, groups.n, out);
}

/* ---- portions ---- */

static spn_status push_portion(tm_context *c, tm_items *portions, const tm_value *items, size_t n,
                               tm_value fill, size_t n_fill) {
    tm_items portion = {0};
    tm_value list;
    for (size_t i = 0; i < n; i++) SPN_TRY(spn_tm_push(c, &portion, items[i]));
    for (size_t i = 0; i < n_fill; i++) SPN_TRY(spn_tm_push(c, &portion, fill));
    SPN_TRY(spn_tm_list(c, TM_LIST, portion.items, portion.n, &list));
    return spn_tm_push(c, portions, list);
}

static bool is_given(tm_value v) { return v.kind != TM_MISSING && v.kind != TM_NONE; }

/* Lists of `linecount` items each. */
static spn_status filter_batch(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    tm_items portions = {0};
    size_t n;
    int64_t size;
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 0, &size));
    if (size < 1) return SPN_TM_FAIL(c, "batch() needs a size of 1 or more");
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t at = 0; at < n; at += (size_t)size) {
        size_t take = spn_min_size((size_t)size, n - at);
        size_t n_fill = is_given(call->arg[1]) ? (size_t)size - take : 0;
        SPN_TRY(push_portion(c, &portions, items + at, take, call->arg[1], n_fill));
        if ((size_t)size >= n - at) break;
    }
    return spn_tm_iterator(c, portions.items, portions.n, out);
}

/* `slices` lists, the first ones longer by one when it does not come out even. */
static spn_status filter_slice(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    tm_items portions = {0};
    size_t n, at = 0;
    int64_t count;
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 0, &count));
    if (count < 1) return SPN_TM_FAIL(c, "slice() needs a count of 1 or more");
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    size_t size = n / (size_t)count, n_longer = n % (size_t)count;
    for (size_t i = 0; i < (size_t)count; i++) {
        size_t take = size + (i < n_longer);
        size_t n_fill = is_given(call->arg[1]) && i >= n_longer;
        SPN_TRY(push_portion(c, &portions, items + at, take, call->arg[1], n_fill));
        at += take;
    }
    return spn_tm_iterator(c, portions.items, portions.n, out);
}

/* ---- map, select, reject ---- */

/* The arguments behind the first `n`. */
static tm_args args_from(const tm_args *args, size_t n) {
    tm_args rest = *args;
    n = spn_min_size(n, args->n);
    if (n > 0) rest.items += n;
    rest.n -= n;
    return rest;
}

static spn_status map_path(tm_context *c, const tm_args *args, tm_value *path, tm_value *missing) {
    for (size_t i = 0; i < args->n_named; i++) {
        if (spn_tm_is_text(args->names[i], "attribute"))
            *path = args->named[i];
        else if (spn_tm_is_text(args->names[i], "default"))
            *missing = args->named[i];
        else
            return SPN_TM_FAIL(c, "map() takes no argument '%.60s'", args->names[i]->data);
    }
    if (path->kind == TM_MISSING) return SPN_TM_FAIL(c, "map() needs a filter or an attribute");
    return SPN_STATUS_OK;
}

static spn_status filter_map(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_value *items;
    const tm_builtin *filter = NULL;
    const tm_string *name;
    tm_value path = tm_missing(), missing = tm_missing();
    tm_items mapped = {0};
    size_t n;
    bool truth;
    SPN_TRY(spn_tm_truth(c, call->self, &truth));
    if (!truth) return spn_tm_iterator(c, NULL, 0, out);
    tm_args rest = args_from(call->all, 1);
    if (call->all->n == 0) {
        SPN_TRY(map_path(c, call->all, &path, &missing));
    } else {
        SPN_TRY(spn_tm_arg_string(c, call->all->items[0], "a filter's name", &name));
        filter = spn_tm_find_filter(name);
        if (filter == NULL) return SPN_TM_FAIL(c, "there is no filter '%.60s'", name->data);
    }
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        tm_value item;
        SPN_TRY(filter != NULL ? spn_tm_call_builtin(c, filter, items[i], &rest, &item)
                               : get_path(c, items[i], path, missing, &item));
        SPN_TRY(spn_tm_push(c, &mapped, item));
    }
    return spn_tm_iterator(c, mapped.items, mapped.n, out);
}

/* Keeps the items for which the test, or their truth when there is none, is `wanted`. */
static spn_status choose(tm_context *c, const tm_call *call, bool by_path, bool wanted,
                         tm_value *out) {
    const tm_value *items;
    const tm_builtin *test = NULL;
    const tm_string *name;
    tm_items chosen = {0};
    size_t n, n_path = by_path;
    bool truth;
    SPN_TRY(spn_tm_truth(c, call->self, &truth));
    if (!truth) return spn_tm_iterator(c, NULL, 0, out);
    if (by_path && call->all->n == 0) return SPN_TM_FAIL(c, "an attribute's name is missing");
    tm_value path = by_path ? call->all->items[0] : tm_missing();
    if (call->all->n > n_path) {
        SPN_TRY(spn_tm_arg_string(c, call->all->items[n_path], "a test's name", &name));
        test = spn_tm_find_test(name);
        if (test == NULL) return SPN_TM_FAIL(c, "there is no test '%.60s'", name->data);
    }
    tm_args rest = args_from(call->all, n_path + 1);
    SPN_TRY(spn_tm_iterate(c, call->self, &items, &n));
    for (size_t i = 0; i < n; i++) {
        tm_value v;
        SPN_TRY(get_path(c, items[i], path, tm_missing(), &v));
        if (test != NULL) SPN_TRY(spn_tm_call_builtin(c, test, v, &rest, &v));
        SPN_TRY(spn_tm_truth(c, v, &truth));
        if (truth == wanted) SPN_TRY(spn_tm_push(c, &chosen, items[i]));
    }
    return spn_tm_iterator(c, chosen.items, chosen.n, out);
}

static spn_status filter_select(tm_context *c, const tm_call *call, tm_value *out) {
    return choose(c, call, false, true, out);
}

static spn_status filter_reject(tm_context *c, const tm_call *call, tm_value *out) {
    return choose(c, call, false, false, out);
}

static spn_status filter_selectattr(tm_context *c, const tm_call *call, tm_value *out) {
    return choose(c, call, true, true, out);
}

static spn_status filter_rejectattr(tm_context *c, const tm_call *call, tm_value *out) {
    return choose(c, call, true, false, out);
}

const tm_builtin *spn_tm_find_filter(const tm_string *name) {
    static const tm_builtin rows[] = {
        {"attr", "name", 1, filter_attr},
        {"batch", "linecount fill_with", 1, filter_batch},
        {"count", "", 0, filter_length},
        {"dictsort", "case_sensitive by reverse", 0, filter_dictsort},
        {"first", "", 0, filter_first},
        {"groupby", "attribute default case_sensitive", 1, filter_groupby},
        {"items", "", 0, filter_items},
        {"join", "d attribute", 0, filter_join},
        {"last", "", 0, filter_last},
        {"length", "", 0, filter_length},
        {"list", "", 0, filter_list},
        {"map", NULL, 0, filter_map},
        {"max", "case_sensitive attribute", 0, filter_max},
        {"min", "case_sensitive attribute", 0, filter_min},
        {"random", NULL, 0, NULL},
        {"reject", NULL, 0, filter_reject},
        {"rejectattr", NULL, 0, filter_rejectattr},
        {"reverse", "", 0, filter_reverse},
        {"select", NULL, 0, filter_select},
        {"selectattr", NULL, 0, filter_selectattr},
        {"slice", "slices fill_with", 1, filter_slice},
        {"sort", "reverse case_sensitive attribute", 0, filter_sort},
        {"sum", "attribute start", 0, filter_sum},
        {"unique", "case_sensitive attribute", 0, filter_unique},
    };
    const tm_builtin *found = spn_tm_find_builtin(rows, SPN_COUNT(rows), name);
    return found != NULL ? found : spn_tm_find_text_filter(name);
}
