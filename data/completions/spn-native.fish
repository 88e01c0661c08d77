# spn-native.fish - completion for fish. SPDX-License-Identifier: Apache-2.0
#
# Commands and options come from the program itself, so they are always those of the version in use.

function __spn_native_options
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return
    for line in (spn-native $words[2] --help-options 2>/dev/null)
        set -l fields (string split \t -- $line)
        echo -e "$fields[1]\t$fields[4]"
        test -n "$fields[2]"; and echo -e "$fields[2]\t$fields[4]"
    end
end

# A model: a file, the demo, or one of the store.
function __spn_native_models
    printf "demo\t%s\n" "the built-in model"
    spn-native list --json 2>/dev/null | string replace -rf '.*"name": *"([^"]*)".*' '$1'
    __fish_complete_path (commandline -ct)
end

# What an option takes, or a model where none waits for its value.
function __spn_native_values
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return
    for line in (spn-native $words[2] --help-options 2>/dev/null)
        set -l fields (string split \t -- $line)
        contains -- $words[-1] $fields[1] $fields[2]; and test -n "$fields[3]"; or continue
        switch $fields[3]
            case '*|*'
                string split '|' -- $fields[3]
            case MODEL
                __spn_native_models
            case FILE DIR
                __fish_complete_path (commandline -ct)
        end
        return
    end
    __spn_native_models
end

complete -c spn-native -n __fish_use_subcommand -f -a '(spn-native --help-commands 2>/dev/null)'
complete -c spn-native -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' \
    -f -a '(__spn_native_options)'
complete -c spn-native -n 'not __fish_use_subcommand; and not string match -q -- "-*" (commandline -ct)' \
    -f -a '(__spn_native_values)'
