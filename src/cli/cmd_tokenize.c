/* cmd_tokenize.c - text to token ids and back. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int encode(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes, bool special) {
    const spn_encode_options options = {.add_special = special, .parse_special = special};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    spn_error err = {0};
    if (spn_tokenizer_encode(tokenizer, text, n_bytes, &options, &tokens, &n_tokens, &err) !=
        SPN_STATUS_OK)
        return spn_cli_error(&err);
    for (size_t i = 0; i < n_tokens; i++) printf("%s%d", i > 0 ? " " : "", tokens[i]);
    putchar('\n');
    spn_free(tokens);
    return SPN_EXIT_OK;
}

static int decode(const spn_tokenizer *tokenizer, const char *text, bool special) {
    int32_t *tokens = NULL;
    size_t n_tokens = 0, n_bytes = 0;
    char *bytes = NULL;
    spn_error err = {0};
    if (!spn_cli_tokens(text, &tokens, &n_tokens)) return SPN_EXIT_USAGE;
    int code = SPN_EXIT_OK;
    if (spn_tokenizer_decode(tokenizer, tokens, n_tokens, special, &bytes, &n_bytes, &err) !=
        SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else
        fwrite(bytes, 1, n_bytes, stdout);
    spn_free(bytes);
    free(tokens);
    return code;
}

static int tokenize(const char *model, bool special, bool is_decode) {
    char path[4096];
    size_t n_bytes = 0;
    spn_tokenizer *tokenizer = NULL;
    spn_error err = {0};
    if (!spn_cli_model_path(model, path, sizeof path)) return SPN_EXIT_FAILED;
    if (spn_tokenizer_load(&tokenizer, path, &err) != SPN_STATUS_OK) return spn_cli_error(&err);
    spn_term_binary(stdin);
    spn_term_binary(stdout);
    char *text = spn_cli_read_all(stdin, "the standard input", &n_bytes);
    int code = SPN_EXIT_FAILED;
    if (text != NULL)
        code = is_decode ? decode(tokenizer, text, special)
                         : encode(tokenizer, text, n_bytes, special);
    free(text);
    spn_tokenizer_free(tokenizer);
    return code;
}

int spn_cmd_tokenize(int argc, char **argv) {
    bool special = false, is_decode = false;
    const spn_opt options[] = {
        {"--decode", "-d", SPN_OPT_FLAG, NULL, &is_decode,
         "the other way: token ids (blanks or commas between them) to text"},
        {"--special", "-s", SPN_OPT_FLAG, NULL, &special,
         "add the tokens that begin and end a text, and read the texts of control tokens as these "
         "tokens; with --decode, print control tokens"},
    };
    const spn_cli_page page = {
        .name = "tokenize",
        .usage = "MODEL",
        .about =
            "Turns the standard input into token ids, all on one line. Only the model's\n"
            "vocabulary is read; MODEL is a GGUF file, the word demo, or a model of the store.\n",
        .examples = "  printf 'Once upon a time' | spn-native tokenize demo\n"
                    "  echo 1 403 407 | spn-native tokenize --decode demo\n"
                    "  spn-native tokenize demo < book.txt | wc -w      # how long is it?\n",
        .options = options,
        .n_options = 2,
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    return done >= 0 ? done : tokenize(args.items[0], special, is_decode);
}
