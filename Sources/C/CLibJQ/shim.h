#pragma once
#include <jv.h>
#include <jq.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>

// prctl is variadic, which Swift cannot call. The calling process is killed when the thread that started it ends.
static inline int outrider_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL); }

// Declared by spawn.h only to those who define _GNU_SOURCE, which a module map cannot.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
