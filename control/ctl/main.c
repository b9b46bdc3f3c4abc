/* leatctl: the operator's hand, a client of leatd's control socket. Exit status: 0 done, 1 leatd
 * refused or failed, 2 bad usage, 3 no leatd there. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/client.h"
#include "control/ctl/print.h"
#include "control/run_dir.h"

enum { EXIT_USAGE = 2, EXIT_NO_DAEMON = 3, PATH_SIZE = 256, STOP_TIMEOUT_S = 30 };

static const char usage[] =
    "usage: leatctl [--socket PATH | --run-dir DIR] [--json] COMMAND\n"
    "\n"
    "  status     the processes and listeners\n"
    "  channels   configured and live channels\n"
    "  counters   the data plane's counters\n"
    "  stop       end leatd and leat-dp in good order, and wait for it;\n"
    "             with --leave-dataplane leat-dp goes on, for another leatd to take over\n"
    "\n"
    "  --socket   default: leatd.sock in the run directory\n"
    "  --run-dir  default: /run/leat for root, else $XDG_RUNTIME_DIR/leat or /tmp/leat-UID\n"
    "  --json     the answer as JSON on one line\n";

struct command {
    const char *name;
    void (*print)(FILE *out, const json_t *result);
    bool waits_for_end;
};

static const struct command commands[] = {
    {"status", print_status, false},
    {"channels", print_channels, false},
    {"counters", print_counters, false},
    {"stop", print_stop, true},
};

struct options {
    char socket[PATH_SIZE];
    bool is_json;
    bool leaves_dataplane;
    const struct command *command;
};

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int fail_usage(const char *what, const char *which)
{
    fprintf(stderr, "leatctl: %s%s\n%s", what, which, usage);
    return EXIT_USAGE;
}

/* -1 to go on, else the exit status. */
static int options_parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'}, {"run-dir", required_argument, NULL, 'r'},
        {"json", no_argument, NULL, 'j'},         {"leave-dataplane", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    char run_dir[RUN_DIR_MAX];

    run_dir_default(run_dir);
    snprintf(o->socket, sizeof(o->socket), "%s/%s", run_dir, RUN_DIR_CONTROL_SOCKET);
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 's')
            snprintf(o->socket, sizeof(o->socket), "%s", optarg);
        else if (c == 'r')
            snprintf(o->socket, sizeof(o->socket), "%s/%s", optarg, RUN_DIR_CONTROL_SOCKET);
        else if (c == 'j')
            o->is_json = true;
        else if (c == 'l')
            o->leaves_dataplane = true;
        else if (c == 'h')
            return fputs(usage, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        else
            return fail_usage("see the usage", "");
    }
    if (optind + 1 != argc)
        return fail_usage(optind == argc ? "which command?" : "one command at a time", "");
    o->command = command_find(argv[optind]);
    if (o->command == NULL)
        return fail_usage("there is no command ", argv[optind]);
    if (o->leaves_dataplane && !o->command->waits_for_end)
        return fail_usage("--leave-dataplane belongs to stop", "");
    return -1;
}

/* Prints leatd's answer, or its error. The exit status. */
static int answer_print(const struct options *o, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");

    if (error != NULL) {
        const char *message = json_string_value(json_object_get(error, "message"));
        fprintf(stderr, "leatctl: leatd: %s\n", message == NULL ? "an error" : message);
        return EXIT_FAILURE;
    }
    const json_t *result = json_object_get(answer, "result");
    if (o->is_json) {
        json_dumpf(result, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        putchar('\n');
    } else {
        o->command->print(stdout, result);
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(const struct options *o)
{
    struct client client;
    json_t *answer = NULL;
    json_t *params = o->leaves_dataplane ? json_pack("{s:b}", "leave_dataplane", 1) : NULL;
    int err = client_connect(&client, o->socket);

    if (err < 0) {
        fprintf(stderr, "leatctl: %s: %s\n", o->socket,
                err == -ENOENT || err == -ECONNREFUSED ? "no leatd is running here"
                                                       : strerror(-err));
        json_decref(params);
        return EXIT_NO_DAEMON;
    }
    err = client_call(&client, o->command->name, params, &answer);
    if (err == 0 && o->command->waits_for_end && json_object_get(answer, "error") == NULL)
        err = client_wait_close(&client, STOP_TIMEOUT_S);
    client_close(&client);
    if (err < 0) {
        fprintf(stderr, "leatctl: %s: %s\n", o->socket,
                err == -EPROTO ? "it answers, but not as leatd does" : strerror(-err));
        json_decref(answer);
        return EXIT_FAILURE;
    }
    int status = answer_print(o, answer);
    json_decref(answer);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {.is_json = false};
    int status = options_parse(argc, argv, &options);

    return status >= 0 ? status : run(&options);
}
