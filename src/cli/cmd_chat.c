/* cmd_chat.c - a conversation at the terminal. SPDX-License-Identifier: Apache-2.0
 *
 * The conversation is a JSON array of messages, which goes to the chat template as it is. The
 * session keeps what was evaluated, so each turn reads only what is new. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/line_editor.h"

typedef struct chat {
    spn_runtime *runtime;
    json_t *messages;
    spn_cli_sampling sampling;
    uint32_t max_tokens;
    spn_cli_shift shift;
    spn_lookahead_mode lookahead;
    bool has_thinking, thinking; /* the template's variable enable_thinking, when set */
    bool shows_stats;
    spn_cli_progress progress;
    spn_chat_response last; /* of the last answer, without its text */
    double load_s;
    bool is_over;
    bool may_pull;
    char last_char;
} chat;

static spn_runtime *interrupted; /* for the signal handler */
static void on_interrupt(void) { spn_runtime_cancel(interrupted); }

/* ---- messages ---- */

static bool add_message(chat *c, const char *role, const char *text, size_t n_bytes) {
    json_t *message =
        json_pack("{s:s, s:o}", "role", role, "content", spn_cli_json_text(text, n_bytes));
    if (message != NULL && json_array_append_new(c->messages, message) == 0) return true;
    spn_cli_fail("cannot keep the message: no memory");
    return false;
}

static void remove_last(chat *c) {
    size_t n = json_array_size(c->messages);
    if (n > 0) json_array_remove(c->messages, n - 1);
}

static const char *role_of(const chat *c, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, i), "role"));
    return role != NULL ? role : "";
}

static bool last_is(const chat *c, const char *role) {
    size_t n = json_array_size(c->messages);
    return n > 0 && strcmp(role_of(c, n - 1), role) == 0;
}

static void set_system(chat *c, const char *text) {
    if (json_array_size(c->messages) > 0 && strcmp(role_of(c, 0), "system") == 0)
        json_array_remove(c->messages, 0);
    if (text[0] == '\0') return;
    json_t *message =
        json_pack("{s:s, s:o}", "role", "system", "content", spn_cli_json_text(text, strlen(text)));
    if (message == NULL || json_array_insert_new(c->messages, 0, message) != 0)
        spn_cli_fail("cannot keep the system message: no memory");
}

/* Everything but the system message goes. */
static void clear(chat *c) {
    size_t keep = json_array_size(c->messages) > 0 && strcmp(role_of(c, 0), "system") == 0;
    while (json_array_size(c->messages) > keep) remove_last(c);
}

/* ---- an answer ---- */

static bool on_text(const char *text, size_t n_bytes, void *user) {
    chat *c = user;
    spn_cli_progress_end(&c->progress);
    c->last_char = text[n_bytes - 1];
    return fwrite(text, 1, n_bytes, stdout) == n_bytes && fflush(stdout) == 0;
}

static void print_stats(const chat *c) {
    const spn_chat_response *r = &c->last;
    uint32_t used = r->n_prompt_tokens + r->n_completion_tokens - r->n_dropped_tokens;
    char dropped[48] = "";
    bool dim = spn_term_has_colour(stderr);
    if (r->n_dropped_tokens > 0)
        snprintf(dropped, sizeof dropped, ", %u older tokens dropped", r->n_dropped_tokens);
    fprintf(stderr, "%s[%.1f tok/s, context %u of %u%s%s]%s\n", dim ? "\033[2m" : "",
            r->generation_s > 0 && r->n_completion_tokens > 1
                ? (r->n_completion_tokens - 1) / r->generation_s
                : 0,
            used, r->n_ctx, dropped,
            r->finish_reason == SPN_FINISH_REASON_STOP     ? ""
            : r->finish_reason == SPN_FINISH_REASON_LENGTH ? ", cut: no more tokens allowed"
                                                           : ", stopped",
            dim ? "\033[0m" : "");
}

static spn_status generate(chat *c, spn_chat_response *response, spn_error *err) {
    spn_chat_options options = {.max_tokens = c->max_tokens,
                                .context_shift = c->shift.on,
                                .n_keep = c->shift.n_keep,
                                .lookahead = c->lookahead,
                                .on_text = on_text,
                                .on_text_user = c};
    if (c->has_thinking)
        options.variables_json =
            c->thinking ? "{\"enable_thinking\": true}" : "{\"enable_thinking\": false}";
    *err = (spn_error){.status = SPN_STATUS_NO_MEMORY, .text = "no memory for the conversation"};
    char *json = json_dumps(c->messages, JSON_COMPACT);
    spn_status status = SPN_STATUS_NO_MEMORY;
    if (json != NULL && spn_cli_sampler_options("chat", &c->sampling, &options.sampler)) {
        status = spn_runtime_chat_json(c->runtime, json, &options, response, err);
        spn_cli_progress_end(&c->progress);
    }
    free((void *)(uintptr_t)options.sampler.bias);
    free(json);
    return status;
}

/* With --context-shift, a conversation that no longer fits loses its oldest question and answer.
 * False: only the last question, and perhaps the system message, is left. */
static bool drop_oldest(chat *c) {
    size_t first = strcmp(role_of(c, 0), "system") == 0, n = first + 1;
    while (n < json_array_size(c->messages) && strcmp(role_of(c, n), "user") != 0) n++;
    if (n >= json_array_size(c->messages)) return false;
    for (size_t i = first; i < n; i++) json_array_remove(c->messages, first);
    fprintf(stderr, "spn-native: the context is full: the oldest %zu messages were dropped\n",
            n - first);
    return true;
}

/* Answers the last message. False: no answer was added, for it failed, or Ctrl-C came before it
 * began, which `taken_back` then tells. */
static bool answer(chat *c, const char *taken_back) {
    spn_chat_response response = {0};
    spn_error err = {0};
    c->last_char = '\n';
    spn_status status = generate(c, &response, &err);
    while (status == SPN_STATUS_CONTEXT_FULL && c->shift.on && drop_oldest(c))
        status = generate(c, &response, &err);
    if (status != SPN_STATUS_OK) {
        spn_cli_error(&err);
        return false;
    }
    if (response.finish_reason == SPN_FINISH_REASON_CANCELLED && response.content_bytes == 0) {
        fprintf(stderr, "[stopped before the answer began: %s]\n", taken_back);
        spn_chat_response_clear(&response);
        return false;
    }
    if (c->last_char != '\n') putchar('\n');
    fflush(stdout);
    bool is_kept = add_message(c, "assistant", response.content, response.content_bytes);
    c->last = response;
    c->last.content = NULL;
    spn_chat_response_clear(&response);
    if (c->shows_stats) print_stats(c);
    spn_cli_print_repetition(&c->last);
    return is_kept;
}

static void ask(chat *c, const char *text) {
    if (add_message(c, "user", text, strlen(text)) && !answer(c, "the question is taken back"))
        remove_last(c);
}

/* ---- commands ---- */

static void do_help(chat *c, const char *arg);

static void do_system(chat *c, const char *arg) {
    if (arg[0] != '\0') {
        set_system(c, strcmp(arg, "-") == 0 ? "" : arg);
        return;
    }
    if (json_array_size(c->messages) == 0 || strcmp(role_of(c, 0), "system") != 0)
        puts("There is no system message.");
    else
        puts(json_string_value(json_object_get(json_array_get(c->messages, 0), "content")));
}

static void do_clear(chat *c, const char *arg) {
    (void)arg;
    clear(c);
}

static void cache_path(const char *path, char out[4096]) { snprintf(out, 4096, "%s.cache", path); }

static void do_save(chat *c, const char *arg) {
    char cache[4096];
    spn_error err = {0};
    if (arg[0] == '\0') {
        puts("/save FILE");
        return;
    }
    if (json_dump_file(c->messages, arg, JSON_INDENT(1)) != 0) {
        spn_cli_fail("cannot write %s: %s", arg, strerror(errno));
        return;
    }
    cache_path(arg, cache);
    if (spn_runtime_save_session(c->runtime, cache, &err) != SPN_STATUS_OK)
        spn_cli_error(&err);
    else
        printf("Saved %zu messages to %s, and what was read of them to %s.\n",
               json_array_size(c->messages), arg, cache);
}

/* An array of objects, each with a role. */
static bool is_conversation(const json_t *messages) {
    size_t i;
    json_t *message;
    if (!json_is_array(messages)) return false;
    json_array_foreach(messages, i, message) {
        if (!json_is_string(json_object_get(message, "role"))) return false;
    }
    return true;
}

static void do_load(chat *c, const char *arg) {
    char cache[4096];
    json_error_t json_err;
    spn_error err = {0};
    json_t *messages = arg[0] != '\0' ? json_load_file(arg, 0, &json_err) : NULL;
    if (arg[0] == '\0') {
        puts("/load FILE");
    } else if (messages == NULL) {
        spn_cli_fail("cannot load %s: %s", arg, json_err.text);
    } else if (!is_conversation(messages)) {
        spn_cli_fail("cannot load %s: it is not a list of messages", arg);
        json_decref(messages);
    } else {
        json_decref(c->messages);
        c->messages = messages;
        printf("Loaded %zu messages.\n", json_array_size(messages));
        cache_path(arg, cache);
        if (spn_runtime_load_session(c->runtime, cache, &err) != SPN_STATUS_OK)
            fprintf(stderr, "They will be read again: %s\n", err.text);
    }
}

static void do_set(chat *c, const char *arg) {
    spn_cli_sampling *s = &c->sampling;
    int32_t max_tokens = -1;
    const struct {
        const char *name;
        float *f;
        int32_t *i;
    } rows[] = {{"temp", &s->temperature, NULL},
                {"top-k", NULL, &s->top_k},
                {"top-p", &s->top_p, NULL},
                {"min-p", &s->min_p, NULL},
                {"repeat-penalty", &s->repeat_penalty, NULL},
                {"presence-penalty", &s->presence_penalty, NULL},
                {"frequency-penalty", &s->frequency_penalty, NULL},
                {"max-tokens", NULL, &max_tokens}};
    char name[32], value[64], *end = value;
    if (sscanf(arg, "%31s %63s", name, value) != 2) {
        puts("/set NAME VALUE, with one of the names temp top-k top-p min-p repeat-penalty "
             "presence-penalty frequency-penalty max-tokens seed think (on or off)");
        return;
    }
    bool known = false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) != 0) continue;
        known = true;
        if (rows[i].f != NULL) *rows[i].f = strtof(value, &end);
        if (rows[i].i != NULL) *rows[i].i = (int32_t)strtol(value, &end, 10);
    }
    if (max_tokens >= 0) c->max_tokens = (uint32_t)max_tokens;
    if (strcmp(name, "seed") == 0) {
        known = true;
        s->seed = strtoull(value, &end, 10);
    }
    if (strcmp(name, "think") == 0) {
        c->has_thinking = known = true;
        c->thinking = strcmp(value, "on") == 0;
        end = strcmp(value, "on") == 0 || strcmp(value, "off") == 0 ? value + strlen(value) : value;
    }
    if (!known)
        spn_cli_fail("there is nothing called %s to set", name);
    else if (*end != '\0')
        spn_cli_fail("'%s' is no value for %s", value, name);
}

static void do_stats(chat *c, const char *arg) {
    const spn_chat_response *r = &c->last;
    const spn_model_info *info = spn_runtime_model_info(c->runtime);
    spn_session_info session = {0};
    spn_memory_need need = {0};
    char memory[200], file[16];
    (void)arg;
    c->shows_stats = !c->shows_stats;
    spn_runtime_session_info(c->runtime, &session);
    spn_runtime_memory(c->runtime, &need);
    printf("model %s %s, %s; loaded in %.2f s; %u threads, %s\nmemory %s\n", info->architecture,
           info->quantization, spn_cli_bytes(info->file_bytes, file), c->load_s, session.n_threads,
           spn_cpu_level_name(session.cpu_level), spn_cli_memory(&need, memory));
    if (r->n_ctx > 0)
        printf("last answer: prompt %u tokens, %u of them cached, %.2f s; %u tokens in %.2f s; "
               "context %u of %u; seed %llu\n",
               r->n_prompt_tokens, r->n_cached_tokens, r->prompt_s, r->n_completion_tokens,
               r->generation_s, r->n_prompt_tokens + r->n_completion_tokens - r->n_dropped_tokens,
               r->n_ctx, (unsigned long long)r->seed);
    printf("The line after each answer is %s.\n", c->shows_stats ? "on" : "off");
}

static void do_regen(chat *c, const char *arg) {
    size_t n = json_array_size(c->messages);
    json_t *old = last_is(c, "assistant") ? json_incref(json_array_get(c->messages, n - 1)) : NULL;
    bool is_answered = false;
    (void)arg;
    if (old != NULL) remove_last(c);
    if (last_is(c, "user"))
        is_answered = answer(c, old != NULL ? "the old answer stays" : "the question stays");
    else
        puts("There is no question to answer again.");
    if (is_answered || old == NULL)
        json_decref(old);
    else if (json_array_append_new(c->messages, old) != 0)
        spn_cli_fail("cannot keep the old answer: no memory");
}

static void do_quit(chat *c, const char *arg) {
    (void)arg;
    c->is_over = true;
}

typedef struct chat_command {
    const char *name;
    const char *usage;
    void (*run)(chat *c, const char *arg);
} chat_command;

static const chat_command commands[] = {
    {"/help", "/help            this list", do_help},
    {"/system", "/system [TEXT]   show or set the system message; - removes it", do_system},
    {"/clear", "/clear           forget the conversation, but not the system message", do_clear},
    {"/save", "/save FILE       keep the conversation in a file", do_save},
    {"/load", "/load FILE       go on with a conversation that was kept", do_load},
    {"/set", "/set NAME VALUE  temp, top-k, top-p, min-p, seed, max-tokens, think ...", do_set},
    {"/stats", "/stats           numbers; turns the line after each answer on or off", do_stats},
    {"/regen", "/regen           answer the last message again", do_regen},
    {"/quit", "/quit            leave (so do /bye, /exit and Ctrl-D)", do_quit},
    {"/bye", NULL, do_quit},
    {"/exit", NULL, do_quit},
};

static void do_help(chat *c, const char *arg) {
    (void)c;
    (void)arg;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (commands[i].usage != NULL) printf("  %s\n", commands[i].usage);
    puts("A line that ends in \\ goes on; lines between \"\"\" are one message. Ctrl-C stops an\n"
         "answer and keeps what came; before it begins, it takes the question back. In a line,\n"
         "it throws the line away.");
}

static void run_command(chat *c, const char *line) {
    size_t n = strcspn(line, " \t\n");
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(n < 31 ? n : 31), line);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        commands[i].run(c, line + n + strspn(line + n, " \t\n"));
        return;
    }
    const char *closest = spn_cli_closest(name, &commands[0].name,
                                          sizeof commands / sizeof commands[0], sizeof commands[0]);
    spn_cli_fail("there is no command %s; %s%s%s", name, closest ? "did you mean " : "try /help",
                 closest ? closest : "", closest ? "?" : "");
}

/* ---- the conversation ---- */

static void talk(chat *c) {
    char history[4096] = "";
    const char *home = getenv("HOME");
    if (home != NULL && strlen(home) < 4000)
        snprintf(history, sizeof history, "%s/.spn/chat_history", home);
    spn_line_editor *editor = spn_line_editor_create(history);
    if (editor == NULL) {
        spn_cli_fail("cannot read from the terminal: no memory");
        return;
    }
    /* Also between answers: until the editor has the terminal, Ctrl-C is a signal. */
    spn_term_on_interrupts(on_interrupt);
    while (!c->is_over) {
        bool is_end;
        char *line = spn_line_editor_read(editor, &is_end);
        if (is_end) break;
        if (line != NULL && line[0] == '/')
            run_command(c, line);
        else if (line != NULL && line[strspn(line, " \t\n")] != '\0')
            ask(c, line);
        free(line);
        fflush(stdout);
    }
    spn_term_on_interrupt(NULL);
    spn_line_editor_free(editor);
}

typedef struct chat_files {
    char model[4096], draft[4096];
    char *template; /* NULL: the model's own */
} chat_files;

static int find_files(const char *model, const char *draft, const char *template_path,
                      bool may_pull, chat_files *files) {
    size_t n_bytes;
    int code = spn_cli_find_model(model, may_pull, files->model, sizeof files->model);
    if (code == SPN_EXIT_OK && draft != NULL)
        code = spn_cli_find_model(draft, may_pull, files->draft, sizeof files->draft);
    if (code != SPN_EXIT_OK || template_path == NULL) return code;
    files->template = spn_cli_read_file(template_path, &n_bytes);
    return files->template != NULL ? SPN_EXIT_OK : SPN_EXIT_FAILED;
}

static int load(chat *c, const spn_cli_engine *engine, const chat_files *files) {
    spn_load_config config;
    spn_error err = {0};
    double start = spn_term_seconds();
    spn_cli_load_config(engine, &config);
    config.chat_template = files->template;
    if (files->draft[0] != '\0') config.draft_path = files->draft;
    config.session.progress = spn_cli_on_progress;
    config.session.progress_user = &c->progress;
    if (spn_runtime_create(&c->runtime, &err) != SPN_STATUS_OK ||
        spn_runtime_load(c->runtime, files->model, &config, &err) != SPN_STATUS_OK)
        return spn_cli_error(&err);
    c->load_s = spn_term_seconds() - start;
    spn_cli_print_note(c->runtime);
    if (files->template != NULL || spn_runtime_model_info(c->runtime)->has_chat_template)
        return SPN_EXIT_OK;
    return spn_cli_fail("cannot chat with %s: the model has no chat template, it only continues "
                        "texts; use spn-native run, or give --template FILE",
                        files->model);
}

static int load_and_talk(const char *model, const spn_cli_engine *engine, const char *template_path,
                         chat *c) {
    static chat_files files;
    int code = find_files(model, engine->draft, template_path, c->may_pull, &files);
    if (code == SPN_EXIT_OK) code = load(c, engine, &files);
    interrupted = c->runtime;
    if (code == SPN_EXIT_OK) {
        if (spn_term_is_terminal(stdin)) puts("/help lists the commands; Ctrl-D leaves.");
        talk(c);
    }
    spn_runtime_free(c->runtime);
    free(files.template);
    return code;
}

int spn_cmd_chat(int argc, char **argv) {
    chat c = {.sampling = SPN_CLI_SAMPLING, .shows_stats = true};
    spn_cli_engine engine = {0};
    const char *system = NULL, *template_path = NULL;
    const spn_opt options[] = {
        {"--system", NULL, SPN_OPT_TEXT, "TEXT", &system, "the system message"},
        {"--template", NULL, SPN_OPT_TEXT, "FILE", &template_path,
         "use this chat template instead of the model's own"},
        {"--max-tokens", "-n", SPN_OPT_U32, "N", &c.max_tokens,
         "most tokens of an answer (default: as many as the context holds, but an answer that only "
         "repeats one phrase ends)"},
        SPN_CLI_SHIFT_OPTIONS(c.shift),
        SPN_CLI_PULL_OPTION(c.may_pull),
        SPN_CLI_LOOKAHEAD_OPTIONS(engine),
        SPN_CLI_SAMPLING_OPTIONS(c.sampling),
        SPN_CLI_CTX_OPTION(engine),
        SPN_CLI_KV_OPTIONS(engine),
        SPN_CLI_BATCH_OPTION(engine),
        SPN_CLI_THREADS_OPTION(engine),
        SPN_CLI_CPU_OPTION(engine),
        SPN_CLI_GPU_OPTION(engine),
        SPN_CLI_MEMORY_OPTION(engine),
        SPN_CLI_MLOCK_OPTION(engine),
    };
    const spn_cli_page page = {
        .name = "chat",
        .usage = "MODEL",
        .about =
            "A conversation: each line is a message, each answer comes as it is generated. /help\n"
            "lists the commands. Ctrl-C stops an answer and keeps what came; before the answer\n"
            "begins, it takes the question back. From a pipe, each line is a message too.\n",
        .examples =
            "  spn-native chat model.gguf\n"
            "  spn-native chat model.gguf --system \"You are terse.\" --temp 0.3 --ctx 8192\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code < 0) {
        c.messages = json_array();
        c.lookahead = spn_cli_lookahead(&engine);
        if (system != NULL) set_system(&c, system);
        code = load_and_talk(args.items[0], &engine, template_path, &c);
        json_decref(c.messages);
    }
    free((void *)c.sampling.bias.items);
    return code;
}
