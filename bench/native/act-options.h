/* Parses `name=value` of the command line. */
#pragma once
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An option has either a number or a text. */
struct option {
  const char *name;
  unsigned *number;
  const char **text;
};

/* The last entry of `known` has no name. Unknown options end the program. */
static inline void parse_options(char **arguments, const struct option *known) {
  for (char **at = arguments + 1; *at != NULL; at++) {
    const char *value = strchr(*at, '=');
    const struct option *one = known;
    size_t length = value == NULL ? 0 : (size_t)(value++ - *at);
    while (one->name != NULL && (strlen(one->name) != length || memcmp(one->name, *at, length) != 0)) one++;
    if (one->name == NULL) {
      fprintf(stderr, "no option %s\n", *at);
      exit(2);
    }
    if (one->number != NULL) *one->number = (unsigned)strtoul(value, NULL, 10);
    else *one->text = value;
  }
}
