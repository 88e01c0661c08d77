/* main.c - the command spn-native: finds the command in the table and runs it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

const spn_command spn_commands[] = {
#ifdef SPN_HAVE_INFERENCE
    {"run", "answer a prompt", spn_cmd_run},
    {"chat", "hold a conversation", spn_cmd_chat},
    {"inspect", "show what a model file holds and what running it takes", spn_cmd_inspect},
    {"embed", "turn texts into vectors", spn_cmd_embed},
    {"template", "show the prompt that a chat template makes of messages", spn_cmd_template},
    {"bench", "measure a model's speed", spn_cmd_bench},
    {"logits", "write a model's raw output", spn_cmd_logits},
    {"tokenize", "turn text into token ids and back", spn_cmd_tokenize},
#endif
    {"devices", "list the processor and the GPUs of this machine", spn_cmd_devices},
    {"detect-ram", "show this machine's memory and processor", spn_cmd_detect_ram},
#ifdef SPN_HAVE_STORAGE
    {"pull", "download a model, or go on with a download", spn_cmd_pull},
    {"list", "list the models in the store", spn_cmd_list},
    {"show", "show what is known about a model", spn_cmd_show},
    {"path", "print the path of a model's file", spn_cmd_path},
    {"rm", "delete a model", spn_cmd_rm},
    {"verify", "check models against their SHA-256", spn_cmd_verify},
    {"repair", "fetch the damaged pieces of a model again", spn_cmd_repair},
    {"outdated", "list models that changed on the hub", spn_cmd_outdated},
    {"prune", "delete unfinished downloads and leftovers", spn_cmd_prune},
    {"import", "take a GGUF file into the store", spn_cmd_import},
    {"store", "show the store, or move it", spn_cmd_store},
    {"catalog", "list the models known by name", spn_cmd_catalog},
    {"search", "search the hub for GGUF models", spn_cmd_search},
    {"doctor", "check disk, network, token and memory", spn_cmd_doctor},
#endif
    {NULL, NULL, NULL},
};

static size_t n_commands(void) { return sizeof spn_commands / sizeof spn_commands[0] - 1; }

static void print_help(void) {
    printf("Usage: spn-native COMMAND [OPTION]... [ARGUMENT]...\n\n"
           "Finds, keeps and runs GGUF models on this machine.\n\nCommands:\n");
    for (const spn_command *command = spn_commands; command->name; command++)
        printf("  %-12s  %s\n", command->name, command->summary);
    printf("\n  spn-native COMMAND --help   explains a command, with examples\n"
           "  spn-native --version        prints the version\n");
#ifdef SPN_HAVE_INFERENCE
    printf("\nMODEL is the path of a GGUF file, the word demo for the model that comes with the\n"
           "program, or the name of a model in the store, such as qwen3:8b. First steps:\n"
           "  spn-native run demo \"Once upon a time\"\n"
           "  spn-native inspect demo\n");
#endif
    printf("\nExit codes: 0 done, 1 failed, 2 the command line makes no sense.\n");
}

/* For programs: a line a command, name and summary parted by a tab. */
static int print_commands(void) {
    for (const spn_command *command = spn_commands; command->name; command++)
        printf("%s\t%s\n", command->name, command->summary);
    return SPN_EXIT_OK;
}

static int print_version(void) {
    printf("spn-native %s\n", spn_version());
    return SPN_EXIT_OK;
}

/* "spn-native help NAME" is "spn-native NAME --help". */
static int help(int argc, char **argv) {
    static char option[] = "--help";
    if (argc < 3) {
        print_help();
        return SPN_EXIT_OK;
    }
    for (const spn_command *command = spn_commands; command->name; command++) {
        char *args[] = {argv[2], option, NULL};
        if (strcmp(command->name, argv[2]) == 0) return command->run(2, args);
    }
    return spn_cli_usage("", "there is no command %s", argv[2]);
}

static int unknown(const char *word) {
    static const char *const options[] = {"--help", "--version"};
    bool is_option = word[0] == '-';
    const char *what = is_option ? "option" : "command";
    const char *closest =
        is_option ? spn_cli_closest(word, options, 2, sizeof options[0])
                  : spn_cli_closest(word, &spn_commands[0].name, n_commands(), sizeof(spn_command));
    if (closest == NULL) return spn_cli_usage("", "there is no %s %s", what, word);
    return spn_cli_usage("", "there is no %s %s; did you mean %s?", what, word, closest);
}

/* Output that did not arrive (a full disk, a closed pipe) is a failure too. */
static int finish(int code) {
    if (fflush(stdout) != 0 && code == SPN_EXIT_OK)
        return spn_cli_fail("cannot write the output; is the disk full or the pipe closed?");
    return code;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help();
        return finish(SPN_EXIT_USAGE);
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return finish(help(argc, argv));
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) return finish(print_version());
    if (strcmp(word, "--help-commands") == 0) return finish(print_commands());
    for (const spn_command *command = spn_commands; command->name; command++)
        if (strcmp(command->name, word) == 0) return finish(command->run(argc - 1, argv + 1));
    return unknown(word);
}
