/* Something else. */
#ifndef PLANTED_H
#define PLANTED_H

#endif
