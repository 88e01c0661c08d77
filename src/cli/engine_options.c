/* engine_options.c - what the commands that run a model share: their options, lists of tokens.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* The choices of --cpu and --kv stand in the order of the library's enums. */
_Static_assert(SPN_CPU_LEVEL_REF == 1 && SPN_CPU_LEVEL_I8MM == 7, "SPN_CLI_CPU_LEVELS");
_Static_assert(SPN_KV_TYPE_F32 == 1 && SPN_KV_TYPE_Q4_0 == 5, "SPN_CLI_KV_TYPES");

void spn_cli_load_config(const spn_cli_engine *engine, spn_load_config *config) {
    *config = (spn_load_config){0};
    config->model.cpu_level = (spn_cpu_level)engine->cpu;
    config->model.exact = engine->exact;
    config->model.lock_memory = engine->lock_memory;
    config->n_gpu_layers = engine->n_gpu_layers;
    config->session.n_ctx = engine->n_ctx;
    config->session.n_threads = engine->n_threads;
    config->session.n_batch = engine->n_batch;
    config->session.skip_memory_check = engine->skip_memory_check;
    config->session.type_k = (spn_kv_type)engine->kv;
    config->session.type_v = (spn_kv_type)(engine->kv_v != 0 ? engine->kv_v : engine->kv);
}

_Static_assert(SPN_LOOKAHEAD_MODE_ALWAYS == 2, "the choices of --lookahead");

spn_lookahead_mode spn_cli_lookahead(const spn_cli_engine *engine) {
    return (spn_lookahead_mode)(engine->lookahead > 0 ? engine->lookahead - 1 : 0);
}

void spn_cli_print_note(const spn_runtime *runtime) {
    const char *note = spn_runtime_note(runtime);
    if (note[0] != '\0') fprintf(stderr, "spn-native: %s\n", note);
}

const char *spn_cli_memory(const spn_memory_need *need, char out[200]) {
    char a[16], b[16], c[16], d[16], e[16], f[16];
    snprintf(out, 200,
             "%s of %s available: weights %s (mapped), cache %s for %u tokens, scratch %s, the "
             "program %s",
             spn_cli_bytes(need->total, a), spn_cli_bytes(need->available, b),
             spn_cli_bytes(need->weights, c), spn_cli_bytes(need->kv, d), need->n_ctx,
             spn_cli_bytes(need->scratch, e), spn_cli_bytes(need->process, f));
    return out;
}

static const char *skip_blanks(const char *at) { return at + strspn(at, " \t\r\n"); }

/* Reads one id and what parts it from the next. NULL: there is none at `at`. */
static const char *read_token(const char *at, int32_t *token) {
    char *end;
    errno = 0;
    long long id = strtoll(at, &end, 10);
    if (end == at || errno != 0 || id < 0 || id > INT32_MAX) return NULL;
    const char *next = skip_blanks(end);
    bool comma = *next == ',';
    if (comma) next = skip_blanks(next + 1);
    if (comma && *next == '\0') return NULL;
    if (!comma && next == end && *next != '\0') return NULL;
    *token = (int32_t)id;
    return next;
}

bool spn_cli_tokens(const char *text, int32_t **tokens, size_t *n_tokens) {
    size_t cap = strlen(text) / 2 + 1, n = 0; /* an id and its blank are two characters */
    int32_t *found = malloc(cap * sizeof *found);
    if (found == NULL) {
        spn_cli_fail("cannot read token ids: no memory");
        return false;
    }
    for (const char *at = skip_blanks(text); *at != '\0';) {
        const char *next = read_token(at, &found[n++]);
        if (next == NULL) {
            spn_cli_fail("cannot read token ids: '%.20s' does not begin with one", at);
            free(found);
            return false;
        }
        at = next;
    }
    *tokens = found;
    *n_tokens = n;
    return true;
}

/* ---- sampling ---- */

/* "ID=BIAS" */
static bool parse_bias(const char *text, spn_logit_bias *out) {
    char *end;
    errno = 0;
    long id = strtol(text, &end, 10);
    if (end == text || *end != '=' || errno != 0 || id < 0 || id > INT32_MAX) return false;
    const char *number = end + 1;
    float bias = strtof(number, &end);
    if (end == number || *end != '\0') return false;
    *out = (spn_logit_bias){(int32_t)id, bias};
    return true;
}

static bool parse_biases(const char *command, const spn_texts *texts,
                         spn_sampler_options *options) {
    if (texts->n == 0) return true;
    spn_logit_bias *list = malloc(texts->n * sizeof *list);
    if (list == NULL) {
        spn_cli_fail("cannot read the biases: no memory");
        return false;
    }
    for (size_t i = 0; i < texts->n; i++) {
        if (parse_bias(texts->items[i], &list[i])) continue;
        spn_cli_usage(command, "--logit-bias: '%s' is no ID=BIAS", texts->items[i]);
        free(list);
        return false;
    }
    options->bias = list;
    options->n_bias = texts->n;
    return true;
}

/* The library's zero means default; the command line's zero means zero. */
static float given(float value) { return value < 0 ? 0 : value == 0 ? 1e-9f : value; }

bool spn_cli_sampler_options(const char *command, const spn_cli_sampling *s,
                             spn_sampler_options *options) {
    *options = (spn_sampler_options){0};
    options->greedy = s->temperature == 0;
    options->temperature = s->temperature > 0 ? s->temperature : 0;
    if (s->top_k != INT32_MIN) options->top_k = s->top_k == 0 ? -1 : s->top_k;
    options->top_p = given(s->top_p);
    options->min_p = s->min_p > 0 ? s->min_p : 0;
    options->typical_p = given(s->typical_p);
    options->repeat_penalty = given(s->repeat_penalty);
    options->presence_penalty = s->presence_penalty;
    options->frequency_penalty = s->frequency_penalty;
    options->repeat_last_n = s->repeat_last_n;
    options->dry_multiplier = s->dry;
    options->mirostat = s->mirostat_tau >= 0;
    options->mirostat_tau = given(s->mirostat_tau);
    options->seed = s->seed;
    return parse_biases(command, &s->bias, options);
}

void spn_cli_print_repetition(const spn_chat_response *response) {
    if (response->finish_reason != SPN_FINISH_REASON_LENGTH || response->n_repeated_tokens < 64)
        return;
    fprintf(stderr,
            "spn-native: the answer only repeats itself: its last %u tokens say one thing over and "
            "over; --repeat-penalty 1.1 or --dry 0.8 may help\n",
            response->n_repeated_tokens);
}

/* ---- progress ---- */

bool spn_cli_on_progress(size_t n_done, size_t n_total, void *user) {
    spn_cli_progress *progress = user;
    double now = spn_term_seconds();
    if (n_total < 2 || !spn_term_is_terminal(stderr)) return true;
    if (progress->start == 0) progress->start = now;
    if (now - progress->start < 1 && !progress->shown) return true;
    progress->shown = true;
    double left =
        n_done > 0 ? (now - progress->start) / (double)n_done * (double)(n_total - n_done) : 0;
    fprintf(stderr, "\r\033[Kreading the prompt: %zu of %zu tokens, about %.0f s left", n_done,
            n_total, left);
    fflush(stderr);
    return true;
}

void spn_cli_progress_end(spn_cli_progress *progress) {
    if (progress->shown) fputs("\r\033[K", stderr);
    *progress = (spn_cli_progress){0};
}
