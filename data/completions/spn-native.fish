# spn-native.fish - completion for fish. SPDX-License-Identifier: Apache-2.0
#
# Commands and options come from the program itself, so they are always those of the version in use.

function __spn_native_options
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return
    spn-native $words[2] --help-options 2>/dev/null | while read -l -d \t name brief value help
        echo -e "$name\t$help"
        test -n "$brief"; and echo -e "$brief\t$help"
    end
end

complete -c spn-native -n __fish_use_subcommand -f -a '(spn-native --help-commands 2>/dev/null)'
complete -c spn-native -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' \
    -f -a '(__spn_native_options)'
