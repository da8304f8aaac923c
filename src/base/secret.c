#include "walpush/base/secret.h"

bool secret_equal(struct slice given, struct slice secret)
{
	volatile unsigned char differs = given.len != secret.len;

	if (secret.len == 0)
		return false;
	for (size_t i = 0; i < given.len; i++)
		differs = (unsigned char)(differs | (unsigned char)(given.at[i] ^ secret.at[i % secret.len]));
	return differs == 0;
}
