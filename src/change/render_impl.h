/* render_impl: what the files of the render module share. No other module includes it. */
#ifndef WALPUSH_RENDER_IMPL_H
#define WALPUSH_RENDER_IMPL_H

#include "walpush/change/render.h"

/* The section's `message`. */
void render_template(const struct route_plan *plan, const struct route_message *message, const struct render_input *in,
		     struct buf *out);

#endif
