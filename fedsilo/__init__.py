"""fedsilo: federated learning between organisations that may not show each other their data, on AWS.

The package owns everything that runs: the federation's description, mail, rounds, tracking, the local federation of a
laptop and the ``fedsilo`` command. It never imports ``aws_cdk``; the stacks do, and take their names from here.
"""

__version__ = "0.1.0"
