/* template_impl.h - what the files of the template interpreter share.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The yardstick is Jinja2 3.1 as the transformers library sets it up: an immutable sandbox with
 * trim_blocks, lstrip_blocks, break and continue. Where Python raises, rendering fails.
 *
 *     source --lexer--> tokens --parser--> nodes (immutable, in the template's arena)
 *     JSON, nodes --exec/eval--> values (in the rendering's arena) --> text
 *
 * Lists, tuples and dicts never change once they are built and hold only what was there before
 * them, so values cannot form cycles except through namespaces. Whatever descends into values
 * counts its depth.
 * Strings are UTF-8; a character starts at each byte that is no continuation byte, so that text
 * which is not valid UTF-8 is merely odd.
 *
 * Bounds: every node evaluated is a step and bulk work costs steps too; nesting is counted in
 * `depth`; what is written anywhere counts as output; the arena has a limit.
 */
#ifndef SPN_TEMPLATE_IMPL_H
#define SPN_TEMPLATE_IMPL_H

#include <string.h>

#include "text/template.h"

#define SPN_TM_MAX_SOURCE ((size_t)4 << 20) /* bytes */
#define SPN_TM_MAX_NODE_DEPTH 300           /* nesting of expressions and statements */
#define SPN_TM_MAX_DEPTH 900                /* nesting while rendering, macro calls included */
#define SPN_TM_MAX_VALUE_DEPTH 200          /* nesting of lists and dicts that are walked */
#define SPN_TM_MAX_RANGE 100000             /* items of range(), as in the sandbox */
#define SPN_TM_MAX_ARGS 64                  /* arguments of a call */
#define SPN_TM_MAX_PARAMS 6                 /* parameters of a built-in */

/* ---- values ---- */

typedef enum tm_kind {
    TM_MISSING, /* an argument that was not given, a variable that is not there */
    TM_UNDEFINED,
    TM_NONE,
    TM_BOOL,
    TM_INT,
    TM_FLOAT,
    TM_STRING,
    TM_LIST,
    TM_TUPLE,
    TM_DICT,
    TM_RANGE,
    TM_VIEW,     /* of a dict: what keys(), values() and items() give */
    TM_ITERATOR, /* what map, select, reverse ... give: can be walked once */
    TM_NAMESPACE,
    TM_MACRO,
    TM_BUILTIN, /* a global function or a method bound to its object */
    TM_LOOP,    /* the variable `loop` */
    TM_CYCLER,
    TM_JOINER,
} tm_kind;

/* Why a value is undefined: it makes the sentence when somebody uses it. */
typedef enum tm_why { TM_WHY_NAME, TM_WHY_MEMBER, TM_WHY_UNSAFE, TM_WHY_TEXT } tm_why;

typedef struct tm_string {
    const char *data;
    size_t len;     /* bytes */
    size_t n_chars; /* equal to len for ASCII, which makes indexing cheap */
} tm_string;

typedef struct tm_value {
    uint8_t kind;
    uint8_t why;   /* UNDEFINED: tm_why */
    uint8_t owner; /* UNDEFINED: the tm_kind of the object that lacks the member */
    bool safe;     /* STRING: marked as HTML, so that what is joined to it gets escaped */
    union {
        bool b;
        int64_t i;
        double f;
        const tm_string *s;       /* STRING; UNDEFINED: the name or the sentence */
        const struct tm_list *l;  /* LIST, TUPLE */
        struct tm_dict *d;        /* DICT */
        const struct tm_range *r; /* RANGE */
        const struct tm_view *view;
        struct tm_iterator *iter;
        struct tm_frame *ns; /* NAMESPACE */
        const struct tm_macro *macro;
        const struct tm_bound *bound; /* BUILTIN */
        struct tm_loop *loop;
        struct tm_wheel *wheel; /* CYCLER, JOINER */
    };
} tm_value;

typedef struct tm_list {
    const tm_value *items;
    size_t n;
} tm_list;

typedef struct tm_pair {
    tm_value key, value;
} tm_pair;

/* Pairs stay in the order of insertion. `order` sorts the keys by bytes when all of them are
 * strings and there are many: no hash, so nobody can choose keys that collide. */
typedef struct tm_dict {
    tm_pair *pairs;
    size_t n, cap;
    uint32_t *order; /* [n], or NULL */
} tm_dict;

typedef struct tm_range {
    int64_t start, stop, step; /* stop is for display */
    size_t n;
} tm_range;

typedef enum tm_part { TM_KEYS, TM_VALUES, TM_ITEMS } tm_part;

typedef struct tm_view {
    tm_dict *dict;
    tm_part part;
} tm_view;

typedef struct tm_iterator {
    const tm_value *items;
    size_t n, next;
} tm_iterator;

typedef struct tm_wheel {
    const tm_value *items; /* CYCLER: what it cycles through; JOINER: its separator */
    size_t n, next;
} tm_wheel;

/* ---- nodes ---- */

typedef enum tm_node_kind {
    /* expressions; "list" is the node's list of children */
    TM_N_CONST,   /* value */
    TM_N_NAME,    /* text */
    TM_N_SUBJECT, /* what a filter block or a block set filters */
    TM_N_LIST,    /* list */
    TM_N_TUPLE,   /* list */
    TM_N_DICT,    /* list: key, value, key, value ... */
    TM_N_ATTR,    /* a.text */
    TM_N_ITEM,    /* a[b] */
    TM_N_SLICE,   /* a:b:c, each may be NULL; only as the b of an ITEM */
    TM_N_CALL,    /* a(list, *b, **c); keyword arguments are KEYWORD nodes in the list */
    TM_N_FILTER,  /* a | text(list, *b, **c), builtin */
    TM_N_TEST,    /* a is text(list, *b, **c), builtin */
    TM_N_KEYWORD, /* text = a */
    TM_N_NOT,     /* a */
    TM_N_SIGN,    /* op a */
    TM_N_BINARY,  /* a op b */
    TM_N_AND,     /* a, b */
    TM_N_OR,      /* a, b */
    TM_N_CONCAT,  /* list */
    TM_N_COMPARE, /* a, then list of OPERAND */
    TM_N_OPERAND, /* op a */
    TM_N_COND,    /* b if a else c; c may be NULL */
    TM_N_MEMBER,  /* text.a of a namespace, a being a NAME: only as a target */
    /* statements */
    TM_N_BLOCK,    /* list */
    TM_N_DATA,     /* text */
    TM_N_PRINT,    /* list */
    TM_N_IF,       /* list of BRANCH */
    TM_N_BRANCH,   /* b when a (NULL: else) */
    TM_N_FOR,      /* for a in b if c (may be NULL): d else e (may be NULL); flag: recursive */
    TM_N_SET,      /* a = b */
    TM_N_CAPTURE,  /* a = text of d through the filters b (may be NULL) */
    TM_N_FILTERED, /* text of d through the filters b */
    TM_N_MACRO,    /* text(list) d */
    TM_N_PARAM,    /* text = a (may be NULL) */
    TM_N_CALLER,   /* call(list) a: d */
    TM_N_WITH,     /* list: target, value, target, value ...; d */
    TM_N_SCOPE,    /* d in a scope of its own */
    TM_N_BREAK,
    TM_N_CONTINUE,
} tm_node_kind;

typedef enum tm_op {
    TM_ADD,
    TM_SUB,
    TM_MUL,
    TM_DIV,
    TM_FLOORDIV,
    TM_MOD,
    TM_POW,
    TM_EQ,
    TM_NE,
    TM_LT,
    TM_LE,
    TM_GT,
    TM_GE,
    TM_IN,
    TM_NOT_IN,
} tm_op;

typedef struct tm_node tm_node;
struct tm_node {
    uint8_t kind; /* tm_node_kind */
    uint8_t op;   /* tm_op */
    bool flag;
    uint8_t catches; /* MACRO, CALLER: tm_catch */
    uint16_t depth;  /* of the tree below, this node included */
    uint32_t line;
    uint32_t n; /* children in the list */
    const tm_string *text;
    tm_node *a, *b, *c, *d, *e;
    tm_node **list;
    tm_value value;
    const struct tm_builtin *builtin;
};

/* Names a macro's body mentions, which decides what it accepts. */
enum tm_catch { TM_CATCH_VARARGS = 1, TM_CATCH_KWARGS = 2, TM_CATCH_CALLER = 4 };

struct spn_template {
    spn_arena arena;
    tm_node *root;
};

/* ---- lexer ---- */

typedef enum tm_token_kind {
    TM_T_EOF,
    TM_T_DATA,
    TM_T_PRINT_BEGIN,
    TM_T_PRINT_END,
    TM_T_BLOCK_BEGIN,
    TM_T_BLOCK_END,
    TM_T_NAME,
    TM_T_STRING,
    TM_T_INT,
    TM_T_FLOAT,
    TM_T_OPERATOR, /* text is the operator itself */
} tm_token_kind;

typedef struct tm_token {
    uint8_t kind;
    uint32_t line;
    const tm_string *text;
    union {
        int64_t i;
        double f;
    };
} tm_token;

typedef struct tm_tokens {
    tm_token *items; /* the last one is EOF */
    size_t n, cap;
} tm_tokens;

/* The tokens' texts live in `arena`; tokens->items is the caller's, free with spn_free, also after
 * a failure. */
spn_status spn_tm_lex(spn_arena *arena, const char *source, size_t len, tm_tokens *tokens,
                      spn_error *err);
spn_status spn_tm_parse(spn_arena *arena, const tm_tokens *tokens, tm_node **root, spn_error *err);

/* TEMPLATE with the line in front. */
spn_status spn_tm_syntax(spn_error *err, uint32_t line, const char *fmt, ...) SPN_PRINTF(3, 4);
#define SPN_TM_SYNTAX(err, line, ...) \
    spn_failed(spn_tm_syntax((err), (line), __VA_ARGS__), SPN_STATUS_TEMPLATE)

/* ---- a rendering ---- */

typedef struct tm_var {
    const tm_string *name;
    tm_value value;
} tm_var;

/* A scope, and the members of a namespace. */
typedef struct tm_frame {
    struct tm_frame *parent;
    tm_var *vars;
    size_t n, cap;
    bool kept; /* a macro refers to it, so it must not be used again */
} tm_frame;

typedef enum tm_flow { TM_FLOW_NONE, TM_FLOW_BREAK, TM_FLOW_CONTINUE } tm_flow;

typedef struct tm_context {
    spn_arena arena;
    spn_template_limits limits;
    uint64_t n_steps;  /* done */
    size_t n_output;   /* bytes written, also into captures */
    unsigned depth;    /* of evaluation */
    unsigned n_walked; /* depth of the value that is being walked */
    uint32_t line;     /* being evaluated */
    tm_frame *frame;
    spn_buf *out;
    tm_value subject; /* of TM_N_SUBJECT */
    tm_flow flow;
    bool over_memory; /* the arena's limit was the reason for the last refusal */
    int64_t now;
    spn_error *err;
} tm_context;

typedef struct tm_args {
    const tm_value *items;
    size_t n;
    const tm_string *const *names; /* [n_named] */
    const tm_value *named;         /* [n_named] */
    size_t n_named;
} tm_args;

/* Gets `self` (the filtered or tested value, the method's object) and, per parameter of the row,
 * an argument or MISSING. A variadic row gets `all` only. */
typedef struct tm_call {
    tm_value self;
    const tm_value *arg;
    const tm_args *all;
} tm_call;

typedef spn_status (*tm_builtin_fn)(tm_context *c, const tm_call *call, tm_value *out);

typedef struct tm_builtin {
    const char *name;
    const char *params; /* "width first blank"; NULL: variadic */
    uint8_t n_required;
    tm_builtin_fn fn; /* NULL: exists in Python but is refused here */
} tm_builtin;

typedef struct tm_bound {
    const tm_builtin *builtin;
    tm_value self;
} tm_bound;

typedef struct tm_macro {
    const tm_node *node; /* MACRO or CALLER */
    tm_frame *frame;     /* where it was defined */
} tm_macro;

/* The items that pass the loop's filter are found one by one, as late as Python does. */
typedef struct tm_loop {
    const tm_node *node;
    tm_frame *outer;        /* the scope around the loop */
    tm_frame *filter_frame; /* the scope of the filter */
    const tm_value *items;  /* [n_items] before the filter */
    size_t n_items, next;
    tm_value *passed; /* [n_passed], of which n_taken were iterated over */
    size_t n_passed, n_taken;
    unsigned depth0; /* of a recursive loop */
    bool finished;   /* a round came to its end */
    const tm_list *last_changed;
} tm_loop;

/* ---- failing ---- */

spn_status spn_tm_fail(tm_context *c, const char *fmt, ...) SPN_PRINTF(2, 3);
#define SPN_TM_FAIL(c, ...) spn_failed(spn_tm_fail((c), __VA_ARGS__), SPN_STATUS_TEMPLATE)
/* After spn_tm_alloc gave NULL: its limit or the machine's. */
spn_status spn_tm_no_memory(tm_context *c);
#define SPN_TM_NO_MEMORY(c) \
    spn_failed(spn_tm_no_memory(c), (c)->over_memory ? SPN_STATUS_TEMPLATE : SPN_STATUS_NO_MEMORY)
/* Somebody uses a value that is not there. */
spn_status spn_tm_fail_undefined(tm_context *c, tm_value value);
#define SPN_TM_UNDEFINED(c, value) \
    spn_failed(spn_tm_fail_undefined((c), (value)), SPN_STATUS_TEMPLATE)
/* Counts steps; fails when there were too many. */
spn_status spn_tm_step(tm_context *c, size_t n);
/* Around anything that may descend: fails when it is too deep. */
spn_status spn_tm_enter(tm_context *c);
static inline void spn_tm_leave(tm_context *c) { c->depth--; }

/* ---- making values (template_value.c) ---- */

static inline tm_value tm_none(void) { return (tm_value){.kind = TM_NONE}; }
static inline tm_value tm_missing(void) { return (tm_value){.kind = TM_MISSING}; }
static inline tm_value tm_bool(bool b) { return (tm_value){.kind = TM_BOOL, .b = b}; }
static inline tm_value tm_int(int64_t i) { return (tm_value){.kind = TM_INT, .i = i}; }
static inline tm_value tm_float(double f) { return (tm_value){.kind = TM_FLOAT, .f = f}; }
static inline tm_value tm_str(const tm_string *s) { return (tm_value){.kind = TM_STRING, .s = s}; }

size_t spn_tm_count_chars(const char *data, size_t len);
tm_string *spn_tm_arena_string(spn_arena *arena, const char *data, size_t len);       /* copies */
spn_status spn_tm_string(tm_context *c, const char *data, size_t len, tm_value *out); /* copies */
spn_status spn_tm_text(tm_context *c, const char *text, tm_value *out);
/* Shares the bytes, which must live as long as the arena. */
spn_status spn_tm_slice_of(tm_context *c, const char *data, size_t len, tm_value *out);
spn_status spn_tm_undefined(tm_context *c, const char *sentence, tm_value *out);
spn_status spn_tm_list(tm_context *c, tm_kind kind, const tm_value *items, size_t n, tm_value *out);
spn_status spn_tm_iterator(tm_context *c, const tm_value *items, size_t n, tm_value *out);
spn_status spn_tm_pair_tuple(tm_context *c, tm_value a, tm_value b, tm_value *out);
void *spn_tm_alloc(tm_context *c, size_t n, size_t item_bytes); /* NULL: spn_tm_no_memory */

/* A growing array of values in the arena. */
typedef struct tm_items {
    tm_value *items;
    size_t n, cap;
} tm_items;
spn_status spn_tm_push(tm_context *c, tm_items *items, tm_value value);

/* ---- dicts, frames ---- */

spn_status spn_tm_dict_new(tm_context *c, size_t cap, tm_dict **out);
/* Without a look whether the key is there already. */
spn_status spn_tm_dict_add(tm_context *c, tm_dict *dict, tm_value key, tm_value value);
spn_status spn_tm_dict_set(tm_context *c, tm_dict *dict, tm_value key, tm_value value);
/* *out is NULL when the key is not there; keys that Python cannot hash fail. */
spn_status spn_tm_dict_find(tm_context *c, tm_dict *dict, tm_value key, const tm_value **out);

spn_status spn_tm_frame_set(tm_context *c, tm_frame *frame, const tm_string *name, tm_value value);
const tm_value *spn_tm_frame_find(const tm_frame *frame, const tm_string *name); /* or NULL */

/* ---- what Python does with values ---- */

const char *spn_tm_type_name(const tm_value *value);
static inline bool spn_tm_is_number(const tm_value *v) {
    return v->kind == TM_INT || v->kind == TM_BOOL || v->kind == TM_FLOAT;
}
static inline bool spn_tm_is_int(const tm_value *v) {
    return v->kind == TM_INT || v->kind == TM_BOOL;
}
static inline int64_t spn_tm_int_of(const tm_value *v) { return v->kind == TM_BOOL ? v->b : v->i; }
static inline double spn_tm_float_of(const tm_value *v) {
    return v->kind == TM_FLOAT ? v->f : (double)spn_tm_int_of(v);
}
static inline bool spn_tm_same_text(const tm_string *a, const tm_string *b) {
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}
static inline bool spn_tm_is_text(const tm_string *a, const char *text) {
    return strlen(text) == a->len && memcmp(a->data, text, a->len) == 0;
}
/* The first place of `part` in `text` from byte `from` on; SIZE_MAX when there is none. */
spn_status spn_tm_find(tm_context *c, const tm_string *text, const tm_string *part, size_t from,
                       size_t *out);
spn_status spn_tm_truth(tm_context *c, tm_value value, bool *out);
spn_status spn_tm_equal(tm_context *c, tm_value a, tm_value b, bool *out);
spn_status spn_tm_less(tm_context *c, tm_value a, tm_value b, bool *out);
spn_status spn_tm_compare(tm_context *c, tm_op op, tm_value a, tm_value b, bool *out);
spn_status spn_tm_contains(tm_context *c, tm_value container, tm_value item, bool *out);
spn_status spn_tm_length(tm_context *c, tm_value value, size_t *out);
/* Whether iter() and len() work. */
bool spn_tm_is_iterable(const tm_value *value);
bool spn_tm_has_length(const tm_value *value);
/* The items of anything that can be walked; an iterator is used up. */
spn_status spn_tm_iterate(tm_context *c, tm_value value, const tm_value **items, size_t *n);
spn_status spn_tm_binary(tm_context *c, tm_op op, tm_value a, tm_value b, tm_value *out);
spn_status spn_tm_negate(tm_context *c, tm_value value, tm_value *out);
/* Stable. Compares the keys; `keys` and `items` [n] are both brought into order. */
spn_status spn_tm_sort(tm_context *c, tm_value *keys, tm_value *items, size_t n, bool reverse);

/* a.name, a[key], a[start:stop:step] (NONE: not given). */
spn_status spn_tm_attr(tm_context *c, tm_value object, const tm_string *name, tm_value *out);
spn_status spn_tm_item(tm_context *c, tm_value object, tm_value key, tm_value *out);
spn_status spn_tm_slice(tm_context *c, tm_value object, const tm_value range[3], tm_value *out);

/* ---- text ---- */

spn_status spn_tm_put(tm_context *c, spn_buf *buf, const void *bytes, size_t n);
spn_status spn_tm_put_text(tm_context *c, spn_buf *buf, const char *text);
spn_status spn_tm_put_fill(tm_context *c, spn_buf *buf, char fill, size_t n);
spn_status spn_tm_put_str(tm_context *c, spn_buf *buf, tm_value value);            /* str(value) */
spn_status spn_tm_put_repr(tm_context *c, spn_buf *buf, tm_value value);           /* repr(value) */
spn_status spn_tm_put_escaped(tm_context *c, spn_buf *buf, const tm_string *text); /* HTML */
/* Ends a text that was built: frees the buffer and, if all went well, makes a string of it. */
spn_status spn_tm_finish(tm_context *c, spn_buf *buf, spn_status status, tm_value *out);
/* str(value) as a string; strings stay as they are. */
spn_status spn_tm_str(tm_context *c, tm_value value, const tm_string **out);
void spn_tm_float_text(double f, char out[32]);                     /* repr(float) */
bool spn_tm_parse_float(const char *text, size_t len, double *out); /* "1.5e3", any locale */

/* ---- Unicode (template_unicode.c) ---- */

/* The character at `at` and the bytes it takes (at least 1). An odd byte stands for itself. */
uint32_t spn_tm_char_at(const tm_string *s, size_t at, size_t *n_bytes);
size_t spn_tm_encode(uint32_t ch, char out[4]);
size_t spn_tm_offset(const tm_string *s, size_t i_char); /* byte offset of a character */
bool spn_tm_is_space(uint32_t ch);
bool spn_tm_is_printable(uint32_t ch);
bool spn_tm_is_alpha(uint32_t ch);
bool spn_tm_is_digit(uint32_t ch);   /* str.isdigit */
bool spn_tm_is_numeric(uint32_t ch); /* str.isnumeric */
bool spn_tm_is_upper(uint32_t ch);
bool spn_tm_is_lower(uint32_t ch);
typedef enum tm_casing { TM_UPPER, TM_LOWER, TM_TITLE, TM_CAPITALIZE, TM_SWAPCASE } tm_casing;
spn_status spn_tm_put_cased(tm_context *c, spn_buf *buf, const tm_string *s, tm_casing casing);
spn_status spn_tm_cased(tm_context *c, const tm_string *s, tm_casing casing, tm_value *out);

/* ---- calling ---- */

spn_status spn_tm_call_value(tm_context *c, tm_value callee, const tm_args *args, tm_value *out);
spn_status spn_tm_call_builtin(tm_context *c, const tm_builtin *builtin, tm_value self,
                               const tm_args *args, tm_value *out);
const tm_builtin *spn_tm_find_builtin(const tm_builtin *rows, size_t n, const tm_string *name);
const tm_builtin *spn_tm_find_filter(const tm_string *name); /* NULL: there is none */
const tm_builtin *spn_tm_find_test(const tm_string *name);
/* A method of the object's type, or NULL. *unsafe: one that would change the object. */
const tm_builtin *spn_tm_find_method(tm_kind kind, const tm_string *name, bool *unsafe);
spn_status spn_tm_add_globals(tm_context *c, tm_frame *frame);
/* Finds items until there are more than `i`; *out tells whether there are. */
spn_status spn_tm_loop_peek(tm_context *c, tm_loop *loop, size_t i, bool *out);
/* *out stays as it is when there is no such attribute. */
spn_status spn_tm_loop_attr(tm_context *c, tm_loop *loop, const tm_string *name, tm_value *out);
spn_status spn_tm_wheel_attr(tm_context *c, tm_value wheel, const tm_string *name, tm_value *out);

/* Reading arguments: MISSING gives the default. */
spn_status spn_tm_arg_int(tm_context *c, tm_value arg, int64_t missing, int64_t *out);
spn_status spn_tm_arg_bool(tm_context *c, tm_value arg, bool *out);
spn_status spn_tm_arg_string(tm_context *c, tm_value arg, const char *what, const tm_string **out);

/* ---- parts of built-ins that stand in their own files or serve several ---- */

/* Filters of texts and numbers; those of sequences stand beside spn_tm_find_filter. */
const tm_builtin *spn_tm_find_text_filter(const tm_string *name);

enum { TM_LEFT = 1, TM_RIGHT = 2 };
/* Without `chars` (NULL) strips white space. */
spn_status spn_tm_strip(tm_context *c, tm_value text, const tm_string *chars, unsigned sides,
                        tm_value *out);
spn_status spn_tm_replace(tm_context *c, const tm_string *s, const tm_string *old,
                          const tm_string *new, int64_t max, tm_value *out);
spn_status spn_tm_splitlines(tm_context *c, const tm_string *s, bool keep_ends, tm_items *lines);
/* With `left` and `right` times `fill` at its sides. */
spn_status spn_tm_justify(tm_context *c, const tm_string *s, size_t left, size_t right,
                          const tm_string *fill, tm_value *out);
bool spn_tm_is_cased_as(const tm_string *s, bool upper); /* isupper(), islower() */
spn_status spn_tm_tojson(tm_context *c, const tm_call *call, tm_value *out);
spn_status spn_tm_from_json(tm_context *c, const char *text, const char *what, tm_value *out);
/* text % args, "...".format(...), strftime. */
spn_status spn_tm_percent(tm_context *c, tm_value format, tm_value args, tm_value *out);
spn_status spn_tm_format(tm_context *c, const tm_string *format, const tm_args *args,
                         tm_value *out);
spn_status spn_tm_strftime(tm_context *c, const tm_string *format, tm_value *out);

/* ---- evaluating ---- */

spn_status spn_tm_eval(tm_context *c, const tm_node *node, tm_value *out);
spn_status spn_tm_exec(tm_context *c, const tm_node *node);
spn_status spn_tm_eval_args(tm_context *c, const tm_node *call, tm_args *out);
spn_status spn_tm_call_macro(tm_context *c, const tm_macro *macro, const tm_args *args,
                             tm_value *out);
spn_status spn_tm_call_loop(tm_context *c, const tm_loop *loop, const tm_args *args, tm_value *out);

#endif
