/* One container from its creation to its end: life NAME.
 *
 * What a program that embeds liblxc does first: it names the template and the image, and leaves the rest to the host's
 * configuration. Status 0 only if every step worked; each step says so on its own line. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lxc/lxccontainer.h>

static struct lxc_container *container;

static void need(bool worked, const char *step)
{
	if (!worked) {
		fprintf(stderr, "%s: failed (%s)\n", step, container && container->error_string ? container->error_string : "");
		exit(1);
	}
	printf("%s: ok\n", step);
	fflush(stdout);
}

/* A configuration item as liblxc reads it back. */
static bool item_is(const char *key, const char *expected)
{
	char value[256] = "";

	return container->get_config_item(container, key, value, sizeof(value)) > 0 && strcmp(value, expected) == 0;
}

/* Whether some address of the container is in the bridge's network. */
static bool has_address(void)
{
	for (int second = 0; second < 30; second++) {
		char **ips = container->get_ips(container, "eth0", "inet", 0);

		for (int i = 0; ips && ips[i]; i++)
			if (strncmp(ips[i], "10.0.3.", 7) == 0)
				return true;
		container->wait(container, "STOPPED", 1);
	}
	return false;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	const char *name = argv[1];

	container = lxc_container_new(name, NULL);
	need(container != NULL, "open");
	need(!container->is_defined(container), "undefined before");

	need(container->createl(container, "download", NULL, NULL, LXC_CREATE_QUIET,
				"-d", "busybox", "-r", "1.35", "-a", "amd64", NULL), "create");
	need(container->is_defined(container), "defined");
	need(item_is("lxc.uts.name", name), "its name");
	need(!container->is_running(container), "not started by itself");

	need(container->start(container, 0, NULL), "start");
	need(strcmp(container->state(container), "RUNNING") == 0, "state");
	need(container->init_pid(container) > 1, "init pid");
	need(has_address(), "address");

	need(container->shutdown(container, 30), "clean shutdown");
	need(!container->is_running(container), "stopped");

	need(container->start(container, 0, NULL), "start again");
	need(container->stop(container), "stop by force");
	need(container->destroy(container), "destroy");
	need(!container->is_defined(container), "undefined after");
	lxc_container_put(container);
	return 0;
}
