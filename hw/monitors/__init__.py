"""I2C power monitors that people put under Pis: INA219, INA226, INA3221.

registers.py  what the registers of each mean: pure, from the data sheets
monitor.py    sets one up on an I2C port, and reads it
"""
