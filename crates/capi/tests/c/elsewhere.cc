#include "inline.hpp"

int elsewhere(int n)
{
    return app::in_line(n) + app::generic(n);
}
