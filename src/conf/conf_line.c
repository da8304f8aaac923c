/* The lines of settings. For a string in a list libconfig knows only the line of the token after the string, so the hook of the setting holds the
 * line that conf_scan found. */
#include <stdint.h>

#include "parts.h"

unsigned conf_line(const config_setting_t *s)
{
	unsigned line = (unsigned)(uintptr_t)config_setting_get_hook(s);

	if (!line)
		line = config_setting_source_line(s);
	return line ? line : 1;
}

static void set(config_setting_t *parent, const struct conf_lines *lines, size_t *next)
{
	for (int i = 0; i < config_setting_length(parent); i++) {
		config_setting_t *s = config_setting_get_elem(parent, (unsigned)i);

		if (config_setting_is_aggregate(s))
			set(s, lines, next);
		else if (!config_setting_is_group(parent) && config_setting_type(s) == CONFIG_TYPE_STRING &&
			 *next < lines->n)
			config_setting_set_hook(s, (void *)(uintptr_t)lines->at[(*next)++]);
	}
}

void conf_line_set(config_setting_t *root, const struct conf_lines *lines)
{
	size_t next = 0;

	set(root, lines, &next);
}
