#!/usr/bin/env python
"""Django's command line; without an environment it runs the development settings."""

import sys


def main():
    from django.core.management import execute_from_command_line

    from portal import env

    env.default_settings("portal.settings.dev")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
