


 


accuracy
latency_msx86_64
params_mš™™™™™©?""*
fashion-mnist:@