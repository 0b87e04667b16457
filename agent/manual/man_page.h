// A manual page, made from what a program or a configuration says of itself and the words that only a page has.
//
// Purpose: the template is a page in the `man` macros with, on lines of their own:
//   @NAME@         "tillsync \- backs up and restores …"
//   @OPTIONS@      the options of the program itself
//   @COMMANDS@     each command with its options
//   @EXIT_STATUS@  what stands below --help
//   @KEYS@         the sections and keys of the configuration
// and @VERSION@, @DATE@ anywhere.
// Errors: usage, for a template that lacks one of what it is given, or has a word @LIKE_THIS@ that nobody fills.
// Threads: functions without state.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/manual/config_example.h"
#include "agent/manual/program.h"
#include "base/result.h"

namespace tillsync {

using ManPageWords = std::map<std::string, std::string, std::less<>>;  // "OPTIONS" → text in the man macros

// The words of a program's page. A program without commands has no COMMANDS, one without footer no EXIT_STATUS.
ManPageWords man_page_words(const ProgramCommand& program);
// The words of the configuration's page.
ManPageWords man_page_words(const std::vector<ConfigSection>& sections);

Result<std::string> fill_man_page(std::string_view page, const ManPageWords& words);

}  // namespace tillsync
