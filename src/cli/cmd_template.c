/* cmd_template.c - what a chat template makes of messages. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cli/cli.h"

typedef struct template_options {
    const char *messages, *tools, *variables, *template;
    bool no_generation_prompt;
} template_options;

/* NULL for no path. False: the error is printed. */
static bool read_file(const char *path, char **text) {
    size_t n_bytes;
    *text = path != NULL ? spn_cli_read_file(path, &n_bytes) : NULL;
    return path == NULL || *text != NULL;
}

static int render(const spn_chat_template *chat_template, const template_options *opt) {
    char *messages = NULL, *tools = NULL, *text = NULL;
    size_t n_bytes = 0;
    spn_error err = {0};
    int code = SPN_EXIT_FAILED;
    if (read_file(opt->messages, &messages) && read_file(opt->tools, &tools)) {
        const spn_render_options options = {.messages_json = messages,
                                            .tools_json = tools,
                                            .variables_json = opt->variables,
                                            .no_generation_prompt = opt->no_generation_prompt};
        if (spn_chat_template_render(chat_template, &options, &text, &n_bytes, &err) ==
            SPN_STATUS_OK) {
            fwrite(text, 1, n_bytes, stdout);
            code = SPN_EXIT_OK;
        } else {
            code = spn_cli_error(&err);
        }
    }
    spn_free(text);
    free(tools);
    free(messages);
    return code;
}

static int load_and_render(const char *model, const template_options *opt) {
    char path[4096], *source = NULL;
    spn_chat_template *chat_template = NULL;
    spn_error err = {0};
    if (!spn_cli_model_path(model, path, sizeof path)) return SPN_EXIT_FAILED;
    if (!read_file(opt->template, &source)) return SPN_EXIT_FAILED;
    int code;
    spn_term_binary(stdout);
    if (spn_chat_template_load(&chat_template, path, source, &err) != SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else
        code = render(chat_template, opt);
    spn_chat_template_free(chat_template);
    free(source);
    return code;
}

int spn_cmd_template(int argc, char **argv) {
    template_options opt = {0};
    const spn_opt options[] = {
        {"--messages", "-m", SPN_OPT_TEXT, "FILE", &opt.messages,
         "the messages: a JSON array of {\"role\", \"content\"} objects; - is the standard input"},
        {"--tools", NULL, SPN_OPT_TEXT, "FILE", &opt.tools, "a JSON array of tools"},
        {"--variables", NULL, SPN_OPT_TEXT, "JSON", &opt.variables,
         "a JSON object of further variables, such as {\"enable_thinking\": false}"},
        {"--template", NULL, SPN_OPT_TEXT, "FILE", &opt.template,
         "use this template instead of the model's own; its BOS and EOS texts stay"},
        {"--no-generation-prompt", NULL, SPN_OPT_FLAG, NULL, &opt.no_generation_prompt,
         "leave out what makes the model answer"},
    };
    const spn_cli_page page = {
        .name = "template",
        .usage = "MODEL --messages FILE",
        .about =
            "Prints the prompt that a model's chat template makes of messages, byte for byte:\n"
            "what chat and run evaluate. Only the model's vocabulary is read.\n",
        .examples = "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' |\n"
                    "      spn-native template model.gguf --messages -\n"
                    "  spn-native template model.gguf -m talk.json --tools tools.json\n"
                    "  spn-native template model.gguf -m talk.json --template my.jinja\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (opt.messages == NULL) return spn_cli_usage(page.name, "--messages is missing");
    return load_and_render(args.items[0], &opt);
}
