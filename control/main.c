/* leatd: the control daemon's process. Exit status: 0 stopped, 1 cannot start, 2 bad usage or
 * configuration, 3 already running in this run directory. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "control/daemon.h"

enum { EXIT_USAGE = 2, EXIT_RUNNING = 3, PATH_SIZE = 4096 };

#define PUBLISH_VARIABLE "LEAT_PUBLISH"

static const char usage[] =
    "usage: leatd [--config FILE] [--run-dir DIR] [--publish NAME=KEY]... [--net MODE] [--dp "
    "PATH]\n"
    "\n"
    "The control daemon: starts and supervises leat-dp, decides who may publish, and answers\n"
    "leatctl.\n"
    "  --config FILE       default: every key at its default\n"
    "  --run-dir DIR       default: /run/leat for root, else $XDG_RUNTIME_DIR/leat or "
    "/tmp/leat-UID\n"
    "  --publish NAME=KEY  adds a channel with this stream key; also $" PUBLISH_VARIABLE
    ", \"NAME=KEY ...\",\n"
    "                      which shows the key to nobody\n"
    "  --net MODE          handed to leat-dp: auto, uring or dpdk\n"
    "  --dp PATH           leat-dp; default: beside leatd\n";

struct arguments {
    struct daemon_options daemon;
    char run_dir[RUN_DIR_MAX];
    char config_file[PATH_SIZE]; /* absolute */
    char dataplane[PATH_SIZE];
};

/* Adds the channel that 'text', "NAME=KEY", names, and overwrites the key where it stands, so that
 * a list of processes does not show it. 0 or -EINVAL, said on standard error without the key. */
static int publish_add(struct config *cfg, char *text)
{
    char *equals = strchr(text, '=');
    int status = -EINVAL;

    if (equals != NULL) {
        *equals = '\0';
        status = config_add_channel(cfg, text, equals + 1);
        memset(equals + 1, 'x', strlen(equals + 1));
        *equals = '=';
    } else {
        memset(text, 'x', strlen(text)); /* it may be a key */
    }
    if (status == 0)
        return 0;
    fprintf(stderr, "leatd: --publish %s: %s\n", text,
            equals == NULL      ? "want NAME=KEY"
            : status == -ENOSPC ? "too many channels"
                                : "a name is 1 to 64 of A-Z a-z 0-9 _ -, a key 1 to 128 printable "
                                  "characters without spaces");
    return -EINVAL;
}

static int publish_add_variable(struct config *cfg)
{
    char *list = getenv(PUBLISH_VARIABLE);
    int status = 0;
    char *state = NULL;

    if (list == NULL)
        return 0;
    for (char *word = strtok_r(list, " ", &state); word != NULL && status == 0;
         word = strtok_r(NULL, " ", &state))
        status = publish_add(cfg, word);
    unsetenv(PUBLISH_VARIABLE);
    return status;
}

/* Beside us, where the build tree has it, or where it is installed. */
static void dataplane_find(char out[static PATH_SIZE])
{
    static const char *const places[] = {"leat-dp", "../dataplane/leat-dp",
                                         "../libexec/leat/leat-dp"};
    char self[PATH_SIZE / 2] = "";
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash = size > 0 ? strrchr(self, '/') : NULL;

    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        snprintf(out, PATH_SIZE, "%s/%s", self, places[i]);
        if (access(out, X_OK) == 0)
            return;
    }
    snprintf(out, PATH_SIZE, "%s/%s", self,
             places[0]); /* the start will say that it is not there */
}

/* -1 to go on, else the exit status. Channels are added in a second pass, over the configuration
 * that the first one found. */
static int options_parse(int argc, char **argv, struct arguments *a, const char **ret_config,
                         bool is_publish_pass, struct config *cfg)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"run-dir", required_argument, NULL, 'r'},
        {"publish", required_argument, NULL, 'p'},
        {"net", required_argument, NULL, 'n'},
        {"dp", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    optind = 0; /* glibc: start over */
    opterr = 0; /* its messages would show a key in a mistyped option */
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'p') {
            if (is_publish_pass && publish_add(cfg, optarg) < 0)
                return EXIT_USAGE;
        } else if (c == 'c') {
            *ret_config = optarg;
        } else if (c == 'n') {
            a->daemon.net_mode = optarg;
        } else if (c == 'd') {
            snprintf(a->dataplane, sizeof(a->dataplane), "%s", optarg);
        } else if (c == 'r') {
            if (snprintf(a->run_dir, sizeof(a->run_dir), "%s", optarg) >= (int)sizeof(a->run_dir)) {
                fprintf(stderr, "leatd: --run-dir: longer than %d bytes, sockets would not fit\n",
                        RUN_DIR_MAX - 1);
                return EXIT_USAGE;
            }
        } else if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        } else {
            fprintf(stderr, "leatd: unknown option, or one without its value\n%s", usage);
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "leatd: unexpected argument\n%s", usage); /* not shown: it may be a key */
    return EXIT_USAGE;
}

/* Fills in what depends on the machine, and reads the configuration. As options_parse(). */
static int arguments_prepare(int argc, char **argv, struct arguments *a, struct config *cfg)
{
    const char *config_file = NULL;
    char error[CONFIG_ERROR_MAX];

    run_dir_default(a->run_dir);
    dataplane_find(a->dataplane);
    int status = options_parse(argc, argv, a, &config_file, false, NULL);
    if (status >= 0)
        return status;
    config_defaults(cfg);
    if (config_file != NULL) {
        if (config_read_file(config_file, cfg, error) < 0) {
            fprintf(stderr, "leatd: %s\n", error);
            return EXIT_USAGE;
        }
        if (realpath(config_file, a->config_file) == NULL) {
            fprintf(stderr, "leatd: %s: %s\n", config_file, strerror(errno));
            return EXIT_FAILURE;
        }
        a->daemon.config_file = a->config_file;
    }
    a->daemon.run_dir = a->run_dir;
    a->daemon.dataplane = a->dataplane;
    status = options_parse(argc, argv, a, &config_file, true, cfg);
    if (status >= 0)
        return status;
    return publish_add_variable(cfg) < 0 ? EXIT_USAGE : -1;
}

static void signals_block(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP); /* the terminal is gone: what was started in it ends, leat-dp too */
    sigprocmask(SIG_BLOCK, &set, NULL); /* the loop reads them from a descriptor */
    signal(SIGPIPE, SIG_IGN);
}

/* The run directory is ours from here to the end. The lock's descriptor, or minus an exit status.
 */
static int run_dir_claim(const char *dir)
{
    int err = run_dir_prepare(dir);

    if (err < 0) {
        fprintf(stderr, "leatd: run directory %s: %s\n", dir,
                err == -EPERM ? "it must be a directory of our own that others cannot write to"
                              : strerror(-err));
        return -EXIT_FAILURE;
    }
    int lock_fd = run_dir_lock(dir);
    if (lock_fd >= 0)
        return lock_fd;
    fprintf(stderr, "leatd: %s/%s: %s\n", dir, RUN_DIR_LOCK,
            lock_fd == -EWOULDBLOCK ? "another leatd is running here" : strerror(-lock_fd));
    return lock_fd == -EWOULDBLOCK ? -EXIT_RUNNING : -EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct config cfg;
    static struct arguments arguments;
    static struct daemon d;
    int status = arguments_prepare(argc, argv, &arguments, &cfg);

    if (status >= 0)
        return status;
    signals_block();
    int lock_fd = run_dir_claim(arguments.run_dir);
    if (lock_fd < 0)
        return -lock_fd;
    if (log_init("leatd", log_format_of(cfg.log_format.text), log_level_of(cfg.log_level.text)) <
        0) {
        fprintf(stderr, "leatd: cannot start the log\n");
        return EXIT_FAILURE;
    }

    log_info("control", LOG_MSG("starting"), LOG_STR("run_dir", arguments.run_dir),
             LOG_INT("channels", cfg.channel_count));
    int err = daemon_init(&d, &cfg, &arguments.daemon);
    if (err == 0)
        err = daemon_run(&d);
    daemon_fini(&d);
    explicit_bzero(cfg.channels, sizeof(cfg.channels));
    log_info("control", LOG_MSG("stopped"));
    log_fini();
    close(lock_fd);
    return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
