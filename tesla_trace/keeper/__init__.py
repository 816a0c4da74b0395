"""The process that stays when the supervisor dies: it answers the program's trapped calls then."""
